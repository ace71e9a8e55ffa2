"""The invariants of sections, and of data appended to the ELF file."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.headers import SectionHeader
from bundle_fix.elf.verify.ranges import (
    Span,
    Touched,
    has_same_range,
    intersect,
    is_zero,
    merge_spans,
    subtract,
)
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.elf.verify.symbol_invariants import has_same_symbols, normalize_static
from bundle_fix.elf.verify.tables import SYMBOL_SIZES
from bundle_fix.model.content import CHUNK, Reader
from bundle_fix.model.errors import DamagedElfError

TABLES = frozenset(
    {
        c.SHT_STRTAB, c.SHT_DYNAMIC, c.SHT_HASH, c.SHT_GNU_HASH,
        c.SHT_GNU_VERSYM, c.SHT_GNU_VERNEED, c.SHT_GNU_VERDEF,
    }
)  # fmt: skip
"""The types of loaded sections that an editor may move: tables with a comparison of their own."""
MAX_OVERLAP = 4
"""Limit of the bytes of all sections together, in sizes of the file: sections do not overlap."""


def compare_sections(
    old: ElfStructure,
    new: ElfStructure,
    touched: Touched,
    movable: frozenset[int] = frozenset(),
) -> Iterator[str]:
    """Yield the sections that changed, or that disagree with the segment that loads them.

    ``movable`` has the types of sections that may get another address, beside `TABLES`.

    Raises:
        DamagedElfError: sections overlap, and would be compared more than `MAX_OVERLAP` times.
    """
    total = sum(s.span.end - s.span.start for s in old.sections.values())
    if touched is None and total > MAX_OVERLAP * old.reader.size:
        raise DamagedElfError(
            f"its sections have {total} bytes, more than {MAX_OVERLAP} times the file's"
            f" {old.reader.size}"
        )
    # sh_link has the number of the section with the strings or symbols; an edit may change numbers.
    old_names, new_names = ["", *old.sections], ["", *new.sections]
    names = _find_name_table(old)
    for number, (name, s) in enumerate(old.sections.items(), 1):
        if number == names:
            continue
        other = new.sections.get(name)
        if other is None:
            yield f"the section {name} is missing"
            continue
        yield from _compare_section(name, old, s, new, other, touched)
        if not (_is_movable(old, s) or s.type in movable) and _has_moved(s, other):
            yield f"the section {name} moved"
        if old_names[s.link : s.link + 1] != new_names[other.link : other.link + 1]:
            yield f"the section {name} has another sh_link"
    for name in set(_list_disagreeing(new)) - set(_list_disagreeing(old)):
        yield f"the section {name} does not agree with the segment that loads it"


def _list_disagreeing(elf: ElfStructure) -> Iterator[str]:
    """Yield the names of sections whose addresses and offsets do not match the segments."""
    for name, s in elf.sections.items():
        loaded = s.flags & c.SHF_ALLOC and s.type != c.SHT_NOBITS and s.size
        if loaded and elf.find_offset(s.addr) != s.offset:
            yield name


def _has_moved(s: SectionHeader, other: SectionHeader) -> bool:
    """Return whether a loaded section has another address or size."""
    return bool(s.flags & c.SHF_ALLOC) and (s.addr, s.size) != (other.addr, other.size)


def _is_movable(elf: ElfStructure, s: SectionHeader) -> bool:
    """Return whether a section is a table, or the name of the interpreter: they may move."""
    is_interpreter = any(n.type == c.PT_INTERP and n.vaddr == s.addr for n in elf.segments)
    return s.type in TABLES or is_interpreter


def _find_name_table(elf: ElfStructure) -> int:
    """Return the number of the section that has only the names of sections, or 0.

    Its bytes may change, because sections are compared by name.
    """
    number = elf.header.shstrndx
    return 0 if any(s.link == number for s in elf.section_headers[1:]) else number


def _compare_section(
    name: str,
    old: ElfStructure,
    s: SectionHeader,
    new: ElfStructure,
    other: SectionHeader,
    touched: Touched,
) -> Iterator[str]:
    """Yield the change to a section that is in both files, if it is one that no edit may make."""
    same_kind = (s.type, s.flags) == (other.type, other.flags)
    if s.flags & c.SHF_ALLOC == 0:
        if not same_kind or not _has_same_contents(old, s, new, other, touched):
            yield f"the section {name} changed"
    elif not same_kind and not _is_stored_now(s, new, other):
        yield f"the section {name} changed its type or flags"
    elif s.type == c.SHT_NOTE and not _has_same_contents(old, s, new, other, touched):
        yield f"the notes of the section {name} changed"


def _is_stored_now(s: SectionHeader, new: ElfStructure, other: SectionHeader) -> bool:
    """Return whether a section such as .bss differs only in that its zeros are in the file."""
    types = (s.type, other.type) == (c.SHT_NOBITS, c.SHT_PROGBITS)
    return types and s.flags == other.flags and is_zero(new.reader, *other.span)


def _has_same_contents(
    old: ElfStructure,
    s: SectionHeader,
    new: ElfStructure,
    other: SectionHeader,
    touched: Touched,
) -> bool:
    """Return whether two sections have the same size and bytes."""
    if s.size != other.size:
        return False
    whole, shift = s.span, other.offset - s.offset
    spans = [whole] if touched is None or shift else intersect(touched, *whole)
    if s.type != c.SHT_SYMTAB:
        return all(has_same_range(old.reader, a, new.reader, a + shift, b - a) for a, b in spans)
    size = SYMBOL_SIZES[old.bits]
    for start, end in spans:
        # Whole symbols, although an edit may touch a part of one only.
        first = start - (start - s.offset) % size
        was = Span(first, min(end + (first - end) % size, whole.end))
        now = Span(was.start + shift, was.end + shift)
        if not has_same_symbols(old, was, new, now, normalize_static):
            return False
    return True


def compare_appendix(old: ElfStructure, new: ElfStructure, touched: Touched) -> Iterator[str]:
    """Yield a message if data that no header describes changed, or is elsewhere in the file.

    A program may find its data, such as an archive, from the start of the file or from its end.
    """
    before, after = old.reader, new.reader
    described = [Span(0, old.header.ehsize), old.program_table, old.section_table]
    described += [s.span for s in old.segments]
    described += [s.span for s in old.section_headers[1:]]
    same_size = before.size == after.size
    for hole in subtract([Span(0, before.size)], merge_spans(described)):
        spans = intersect(touched, *hole) if touched is not None and same_size else [hole]
        if not all(_has_same_data(before, after, span) for span in spans):
            yield f"data at offset {hole.start}, which no header describes, changed or moved"
        elif hole.end == before.size and not same_size and not is_zero(before, *hole):
            yield "data appended to the file has another distance from its end"


def _has_same_data(before: Reader, after: Reader, span: Span) -> bool:
    """Return whether all bytes of a range are the same, except for zeros, which fill up pages."""
    for at in range(span.start, span.end, CHUNK):
        one = before.pread(at, min(CHUNK, span.end - at))
        other = after.pread(at, len(one)).ljust(len(one), b"\0")
        if one != other and any(a and a != b for a, b in zip(one, other, strict=True)):
            return False
    return True
