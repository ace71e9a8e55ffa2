"""The invariant of loaded memory: what no edit may change in the bytes that the loader maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.ranges import Span, has_same_range, intersect, subtract
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.read.structs import Segment
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.model.content import Reader

CARRIED = frozenset({c.PT_INTERP, c.PT_NOTE, c.PT_GNU_PROPERTY})
"""Segments that an editor may move; their contents must stay the same."""
MAX_FILLER = 1 << 20
"""Limit of one gap between sections that may be filler, in bytes."""


def compare_memory(
    before: Reader, old: Image, after: Reader, new: Image, touched: Sequence[Span] | None
) -> Iterator[str]:
    """Yield the loaded ranges that changed, except those that an edit may change."""
    ignored = _join_padding(before, sorted(_list_ignored(before, old)))
    for s in old.find_loads():
        if s.memsz > s.filesz and not any(_has_same_zeros(s, n) for n in new.find_loads()):
            # The kernel and the loader zero the memory beyond the bytes of the file (.bss).
            yield f"the zeroed memory of the segment at {s.vaddr:#x} changed its size"
        for whole in subtract([Span(s.offset, s.file_end)], ignored):
            piece = _skip_padding(before, whole)
            shift = _find_shift(s, piece, new)
            if shift is None:
                yield f"the segment at {s.vaddr:#x} is missing, smaller, or has other permissions"
                break
            ranges = [piece] if touched is None else intersect(touched, *piece)
            if not all(has_same_range(before, a, after, a + shift, b - a) for a, b in ranges):
                yield f"loaded bytes changed near address {s.vaddr + piece.start - s.offset:#x}"
                break


def _has_same_zeros(one: Segment, other: Segment) -> bool:
    """Return whether two segments have the same memory beyond the bytes of the file."""
    ends = (one.vaddr + one.filesz, one.memory_end, one.flags)
    return ends == (other.vaddr + other.filesz, other.memory_end, other.flags)


def _find_shift(s: Segment, piece: Span, new: Image) -> int | None:
    """Return the distance from old to new file offsets for the range ``piece`` of ``s``, or None.

    An editor may give headers and tables a segment of their own and split ``s``. So each range that
    must stay is looked up by itself, at the same address with the same permissions.
    """
    start, end = (s.vaddr + at - s.offset for at in piece)
    for n in new.find_loads():
        if n.vaddr <= start and end <= n.vaddr + n.filesz and n.flags == s.flags:
            return n.offset - n.vaddr + s.vaddr - s.offset
    return None


def _list_ignored(reader: Reader, image: Image) -> Iterator[Span]:
    """Yield the ranges that other invariants cover: headers, dynamic section, notes, tables."""
    header = image.header
    yield Span(0, header.ehsize)
    yield Span(header.phoff, header.phoff + header.phnum * header.phentsize)
    # patchelf puts the section headers into the page that it adds; the loader maps that page.
    yield Span(header.shoff, header.shoff + header.shnum * header.shentsize)
    yield from _find_filler(reader, image)
    table = find_string_table(image)
    if table is not None:
        yield Span(table[0], table[0] + table[1])
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type == c.PT_DYNAMIC)
    yield from (Span(s.offset, s.file_end) for s in image.segments if s.type in CARRIED)
    yield from (Span(t.offset, t.end) for t in find_movable_tables(reader, image))
    symbols = measure_symbol_table(reader, image)
    if symbols is not None:
        yield symbols


def _find_filler(reader: Reader, image: Image) -> Iterator[Span]:
    """Yield the ranges outside all sections that contain only Z, X and zeros.

    An earlier patchelf overwrote moved tables with these letters; the next edit may use the space.
    """
    sections = read_sections(reader, image.format, image.header)
    header = image.header
    used = [Span(s.offset, s.offset + s.size) for s in sections if s.type != c.SHT_NOBITS]
    used += [Span(0, header.ehsize)]
    used += [Span(header.phoff, header.phoff + header.phnum * header.phentsize)]
    for s in image.find_loads() if sections else ():
        for gap in subtract([Span(s.offset, s.file_end)], sorted(used)):
            data = reader.pread(gap.start, min(gap.end - gap.start, MAX_FILLER))
            if len(data) == gap.end - gap.start and data.strip(b"\0") and not data.strip(b"ZX\0"):
                yield gap


def _skip_padding(reader: Reader, span: Span) -> Span:
    """Return ``span`` without leading zeros, which are padding after the previous table.

    The tables that an editor moves are aligned to 16 bytes at most.
    """
    head = reader.pread(span.start, min(15, span.end - span.start))
    zeros = len(head) - len(head.lstrip(b"\0"))
    return Span(min(span.start + zeros, span.end), span.end)


def _join_padding(reader: Reader, spans: Sequence[Span]) -> list[Span]:
    """Return ``spans`` joined over padding: at most 15 zeros between one and the next."""
    joined: list[Span] = []
    for span in spans:
        gap = span.start - joined[-1].end if joined else -1
        if 0 <= gap < 16 and not reader.pread(joined[-1].end, gap).strip(b"\0"):
            joined.append(Span(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def measure_symbol_table(reader: Reader, image: Image) -> Span | None:
    """Return the range of the dynamic symbol table, or None if no loaded segment contains it."""
    address = image.find_value(c.DT_SYMTAB)
    start = None if address is None else image.find_offset(address)
    if start is None:
        return None
    return Span(start, start + len(read_name_offsets(reader, image)) * image.format.symbol_size)
