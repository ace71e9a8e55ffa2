"""The invariants that every edit must keep, checked by code that no editor uses.

The edited file is compared with the original. ``touched`` has the only ranges that can differ, so
that three patches of a 400 MB library are verified without reading the whole file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import MAX_NOTES, read_notes
from bundle_fix.elf.read.parser import IDENT_SIZE, read_image
from bundle_fix.elf.read.ranges import Span
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.elf.verify.memory_invariants import CARRIED, compare_memory, measure_symbol_table
from bundle_fix.elf.verify.section_invariants import compare_appendix, compare_sections
from bundle_fix.elf.verify.symbol_invariants import compare_symbols
from bundle_fix.model.content import Reader

SEGMENTS = {
    c.PT_TLS: "the TLS segment",
    c.PT_GNU_RELRO: "the RELRO segment",
    c.PT_GNU_STACK: "the stack flags",
    c.PT_GNU_EH_FRAME: "the unwind table",
}
"""The names of segments in messages; other types are shown as numbers."""


FREE_SEGMENTS = CARRIED | {c.PT_NULL, c.PT_LOAD, c.PT_DYNAMIC, c.PT_PHDR}
"""Segments with a comparison of their own; all others keep their address, size and flags."""

EDITED_TAGS = frozenset({c.DT_NEEDED, c.DT_SONAME, c.DT_RPATH, c.DT_RUNPATH})
"""Dynamic tags whose strings an edit may be asked to change."""

FREE_TAGS = c.STRING_TAGS | {
    c.DT_STRTAB, c.DT_STRSZ, c.DT_SYMTAB, c.DT_HASH, c.DT_GNU_HASH,
    c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
}  # fmt: skip
"""Dynamic tags whose values may change: strings, and tables with a comparison of their own."""


def find_broken_invariants(
    before: Reader, after: Reader, changes: Changes, touched: Sequence[Span] | None = None
) -> Iterator[str]:
    """Yield every invariant that an edit broke, as a phrase; nothing if the edit is sound.

    Args:
        before: the original file.
        after: the edited file.
        changes: the requested changes.
        touched: the only ranges that can differ, if they are known; None compares all bytes.

    Raises:
        DamagedElfError: the edited file is damaged.
    """
    old, new = read_image(before), read_image(after)
    if before.pread(0, IDENT_SIZE) != after.pread(0, IDENT_SIZE):
        yield "the header's e_ident changed"
    yield from _compare_headers(old, new)
    yield from _compare_carried(before, old, after, new)
    yield from _check_layout(new)
    for tag in _find_unloaded_tables(after, new) - _find_unloaded_tables(before, old):
        yield f"the table of dynamic tag {tag:#x} reaches beyond the segment that loads it"
    if _count_shared_pages(new) > _count_shared_pages(old):
        yield "two segments of different permissions share a page"
    yield from _compare_dynamic(old, new, changes)
    if _read_other_strings(before, old) != _read_other_strings(after, new):
        yield "an audit, filter or auxiliary library changed"
    yield from compare_symbols(before, old, after, new, dict(changes.replace_needed))
    yield from compare_memory(before, old, after, new, touched)
    yield from compare_sections(before, old, after, new, touched)
    yield from compare_appendix(before, old, after, new, touched)


def _compare_headers(old: Image, new: Image) -> Iterator[str]:
    for field in ("type", "machine", "version", "entry", "flags"):
        if getattr(old.header, field) != getattr(new.header, field):
            yield f"the header's {field} changed"
    for kind in sorted({s.type for s in (*old.segments, *new.segments)} - FREE_SEGMENTS):
        if _list_segments(old, kind) != _list_segments(new, kind):
            yield f"{SEGMENTS.get(kind, f'the segment of type {kind:#x}')} changed"


def _compare_carried(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[str]:
    if old.interpreter != new.interpreter:
        yield "the interpreter changed"
    # mold 1 puts notes of two alignments into one segment, where readers find only the first. An
    # editor that separates them makes more notes readable: only missing ones count.
    if Counter(read_notes(before, old)) - Counter(read_notes(after, new)):
        yield "a note is missing or changed"
    if _read_properties(before, old) != _read_properties(after, new):
        yield "the GNU properties changed"


def _read_properties(reader: Reader, image: Image) -> list[bytes]:
    found = [s for s in image.segments if s.type == c.PT_GNU_PROPERTY]
    return [reader.pread(s.offset, min(s.filesz, MAX_NOTES)) for s in found]


def _list_segments(image: Image, kind: int) -> list[tuple[int, ...]]:
    return sorted((s.vaddr, s.flags, s.memsz, s.filesz) for s in image.segments if s.type == kind)


def _check_layout(new: Image) -> Iterator[str]:
    loads = new.find_loads()
    for s in loads:
        if s.align > 1 and (s.vaddr - s.offset) % s.align:
            yield f"the segment at {s.vaddr:#x} is not aligned with its file offset"
        if s.file_end > new.size:
            yield f"the segment at {s.vaddr:#x} reaches beyond the file"
    for one, two in pairwise(loads):
        if one.memory_end > two.vaddr:
            yield f"the segments at {one.vaddr:#x} and {two.vaddr:#x} overlap or are out of order"
    for s in new.segments:
        if s.type == c.PT_PHDR and (
            s.offset != new.header.phoff or new.find_offset(s.vaddr) != s.offset
        ):
            yield "PT_PHDR does not match the program headers"
        if s.type == c.PT_DYNAMIC and new.find_offset(s.vaddr) != s.offset:
            yield "no loaded segment contains PT_DYNAMIC"


def _find_unloaded_tables(reader: Reader, image: Image) -> set[int]:
    """Return the tags of the tables that no loaded segment contains completely."""
    spans = {
        table.tag: Span(table.offset, table.end) for table in find_movable_tables(reader, image)
    }
    strings = find_string_table(image)
    if strings is not None:
        spans[c.DT_STRTAB] = Span(strings[0], sum(strings))
    symbols = measure_symbol_table(reader, image)
    if symbols is not None:
        spans[c.DT_SYMTAB] = symbols
    loads = image.find_loads()
    return {
        tag
        for tag, (start, end) in spans.items()
        if not any(s.offset <= start and end <= s.file_end for s in loads)
    }


def _count_shared_pages(image: Image) -> int:
    """Return the number of pairs of segments with different permissions on one page.

    The size of a page is the segment's alignment, the largest that the linker planned for.
    """
    loads = image.find_loads()
    return sum(
        one.flags != two.flags
        and (one.memory_end - 1) // max(two.align, 1) == two.vaddr // max(two.align, 1)
        for one, two in pairwise(loads)
    )


def _compare_dynamic(old: Image, new: Image, changes: Changes) -> Iterator[str]:
    fixed = [[e for e in image.dynamic or () if e.tag not in FREE_TAGS] for image in (old, new)]
    if sorted(fixed[0]) != sorted(fixed[1]):
        yield "dynamic tags changed that no edit may change"
    expected = {
        "needed": _expect_needed(old.needed, changes),
        "soname": old.soname if changes.soname is None else changes.soname or None,
        "runpath": old.runpath,
        "rpath": old.rpath,
    }
    if changes.runpath is not None or changes.rpath is not None:
        expected |= {"runpath": changes.runpath or None, "rpath": changes.rpath or None}
    for field, value in expected.items():
        if getattr(new, field) != value:
            yield f"{field} is {getattr(new, field)!r}, expected {value!r}"


def _expect_needed(needed: Sequence[str], changes: Changes) -> tuple[str, ...]:
    """Return the needed names that ``changes`` must lead to, computed without the editors' code."""
    names = list(needed)
    for anchor, new in changes.insert_needed:
        for at in range(len(names) - 1, -1, -1):
            if names[at] == anchor and (at == 0 or names[at - 1] != new):
                names.insert(at, new)
    replaced = dict(changes.replace_needed)
    present = {*needed, *(replaced[name] for name in needed if name in replaced)}
    added = [name for name in dict.fromkeys(changes.add_needed) if name not in present]
    kept = [replaced.get(name, name) for name in names if name not in changes.remove_needed]
    return (*added, *kept)


def _read_other_strings(reader: Reader, image: Image) -> list[tuple[int, bytes]]:
    """Return the strings of dynamic tags that no edit may change, with their tags."""
    table = find_string_table(image) or (0, 0)
    entries = [e for e in image.dynamic or () if e.tag in c.STRING_TAGS - EDITED_TAGS]
    return [(entry.tag, read_string(reader, table, entry.value)) for entry in entries]
