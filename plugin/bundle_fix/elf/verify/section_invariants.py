"""The invariants of sections, and of data appended to the ELF file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.ranges import Span, has_same_range, intersect
from bundle_fix.elf.read.sections import index_sections, read_sections
from bundle_fix.elf.read.structs import Section
from bundle_fix.elf.verify.symbol_invariants import has_same_static_symbols
from bundle_fix.model.content import CHUNK, Reader


def compare_sections(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Yield the sections that changed, or that disagree with the segment that loads them."""
    olds = index_sections(before, old)
    news = index_sections(after, new)
    # sh_link has the number of the section with the strings or symbols; an edit may change numbers.
    old_names, new_names = ["", *olds], ["", *news]
    for name, s in olds.items():
        other = news.get(name)
        if other is None:
            yield f"the section {name} is missing"
        elif s.flags & c.SHF_ALLOC == 0:
            if not _has_same_section(before, old, s, after, other, touched):
                yield f"the section {name} changed"
        elif s.type != other.type or s.flags != other.flags:
            yield f"the section {name} changed its type or flags"
        elif s.type == c.SHT_NOTE and not (
            s.size == other.size and has_same_range(before, s.offset, after, other.offset, s.size)
        ):
            yield f"the notes of the section {name} changed"
        elif name in (".text", ".data", ".bss", ".rodata") and s.addr != other.addr:
            yield f"the section {name} moved"
        if (
            other is not None
            and old_names[s.link : s.link + 1] != new_names[other.link : other.link + 1]
        ):
            yield f"the section {name} has another sh_link"
    for name, s in news.items():
        loaded = s.flags & c.SHF_ALLOC and s.type != c.SHT_NOBITS and s.size
        if loaded and new.find_offset(s.addr) != s.offset:
            yield f"the section {name} does not agree with the segment that loads it"


def _has_same_section(
    before: Reader,
    old: Image,
    s: Section,
    after: Reader,
    other: Section,
    touched: Sequence[Span] | None,
) -> bool:
    """Return whether a section that is not loaded has the same bytes."""
    if (s.size, s.type, s.flags) != (other.size, other.type, other.flags):
        return False
    if s.type == c.SHT_NOBITS:
        return True
    whole = Span(s.offset, s.offset + s.size)
    spans = [whole] if touched is None or other.offset != s.offset else intersect(touched, *whole)
    for start, end in spans:
        near, far = start - s.offset, end - s.offset
        if s.type == c.SHT_SYMTAB:
            if not has_same_static_symbols(before, old, s, after, other, near, far):
                return False
        elif not has_same_range(before, start, after, other.offset + near, far - near):
            return False
    return True


def compare_appendix(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Yield a message if data after the ELF file, such as an installer's archive, changed."""
    header = old.header
    ends = [s.file_end for s in old.segments]
    ends += [header.shoff + header.shnum * header.shentsize, header.ehsize]
    sections = read_sections(before, old.format, header)
    ends += [s.offset + s.size for s in sections if s.type != c.SHT_NOBITS]
    whole = Span(max(ends), old.size)
    shift = new.size - old.size
    spans = intersect(touched, *whole) if touched is not None and not shift else [whole]
    # Zeros at the end may only fill up a page, as after an earlier patchelf.
    if any(
        a < b
        and not has_same_range(before, a, after, a + shift, b - a)
        and not _is_zero(before, a, b)
        for a, b in spans
    ):
        yield "data appended to the file changed"


def _is_zero(reader: Reader, start: int, end: int) -> bool:
    return not any(
        reader.pread(at, min(CHUNK, end - at)).strip(b"\0") for at in range(start, end, CHUNK)
    )
