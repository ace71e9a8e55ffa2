"""What no edit may change about sections, and about what stands behind the ELF file."""

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
    """Sections keep their addresses and bytes; loaded ones agree with the segment they lie in."""
    were = index_sections(before, old)
    now = index_sections(after, new)
    # By sh_link a section says where its strings or symbols are.
    old_names, new_names = ["", *were], ["", *now]
    for name, s in were.items():
        there = now.get(name)
        if there is None:
            yield f"the section {name} is gone"
        elif s.flags & c.SHF_ALLOC == 0:
            if not _has_same_section(before, old, s, after, there, touched):
                yield f"the section {name} changed"
        elif s.type != there.type or s.flags != there.flags:
            yield f"the section {name} changed its type or flags"
        elif s.type == c.SHT_NOTE and not (
            s.size == there.size and has_same_range(before, s.offset, after, there.offset, s.size)
        ):
            yield f"the notes of the section {name} changed"
        elif name in (".text", ".data", ".bss", ".rodata") and s.addr != there.addr:
            yield f"the section {name} moved"
        if (
            there is not None
            and old_names[s.link : s.link + 1] != new_names[there.link : there.link + 1]
        ):
            yield f"the section {name} is linked to another section"
    for name, s in now.items():
        loaded = s.flags & c.SHF_ALLOC and s.type != c.SHT_NOBITS and s.size
        if loaded and new.find_offset(s.addr) != s.offset:
            yield f"the section {name} does not agree with the segment that loads it"


def _has_same_section(
    before: Reader,
    old: Image,
    s: Section,
    after: Reader,
    there: Section,
    touched: Sequence[Span] | None,
) -> bool:
    """Whether a section that is not loaded has the same bytes."""
    if (s.size, s.type, s.flags) != (there.size, there.type, there.flags):
        return False
    if s.type == c.SHT_NOBITS:
        return True
    whole = Span(s.offset, s.offset + s.size)
    spans = [whole] if touched is None or there.offset != s.offset else intersect(touched, *whole)
    for start, end in spans:
        near, far = start - s.offset, end - s.offset
        if s.type == c.SHT_SYMTAB:
            if not has_same_static_symbols(before, old, s, after, there, near, far):
                return False
        elif not has_same_range(before, start, after, there.offset + near, far - near):
            return False
    return True


def compare_appendix(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """What stands behind the ELF file (an installer's archive, say) still ends the file."""
    header = old.header
    ends = [s.file_end for s in old.segments]
    ends += [header.shoff + header.shnum * header.shentsize, header.ehsize]
    sections = read_sections(before, old.format, header)
    ends += [s.offset + s.size for s in sections if s.type != c.SHT_NOBITS]
    whole = Span(max(ends), old.size)
    shift = new.size - old.size
    spans = intersect(touched, *whole) if touched is not None and not shift else [whole]
    # Zeros that fill up a page (patchelf leaves such) are nobody's data.
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
