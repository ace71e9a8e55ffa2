"""The invariant of loaded memory: what no edit may change in the bytes that the loader maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.headers import ProgramHeader
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
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import DamagedElfError

COMPARED = frozenset({c.PT_DYNAMIC, c.PT_INTERP})
"""Segments whose bytes other invariants compare."""
MAX_PIECES = 1 << 16
"""Limit of the ranges that are compared: segments that overlap have many in common."""


def compare_memory(
    old: ElfStructure, movable: Iterable[Span], new: ElfStructure, touched: Touched
) -> Iterator[str]:
    """Yield the loaded ranges that changed, except those that an edit may change.

    Args:
        old: the original file.
        movable: the ranges of its tables and of other parts that have comparisons of their own.
        new: the edited file.
        touched: the only ranges that can differ.

    Raises:
        DamagedElfError: its segments overlap, and have more than `MAX_PIECES` ranges.
    """
    before, after = old.reader, new.reader
    ignored = _join_padding(before, merge_spans(_list_ignored(old, movable, new)))
    left = MAX_PIECES
    for s in old.loads:
        if not _has_same_zeros(s, new):
            # The kernel and the loader zero the memory beyond the bytes of the file (.bss).
            yield f"the zeroed memory of the segment at {s.vaddr:#x} changed its size"
        for whole in subtract([s.span], ignored):
            left -= 1
            if left < 0:
                raise DamagedElfError(f"its segments have more than {MAX_PIECES} separate ranges")
            piece = _skip_padding(before, whole)
            shift = _find_shift(s, piece, new)
            if shift is None:
                yield f"the segment at {s.vaddr:#x} is missing, smaller, or has other permissions"
                break
            ranges = [piece] if touched is None else intersect(touched, *piece)
            if not all(has_same_range(before, a, after, a + shift, b - a) for a, b in ranges):
                yield f"loaded bytes changed near address {s.vaddr + piece.start - s.offset:#x}"
                break


def _has_same_zeros(s: ProgramHeader, new: ElfStructure) -> bool:
    """Return whether the memory of ``s`` beyond the bytes of the file is zero in the new file.

    It may be zeros of the file then; the end of all memory may be further away.
    """
    start, end = s.vaddr + s.filesz, s.vaddr + s.memsz
    if start >= end:
        return True
    found = next((n for n in new.loads if n.vaddr <= start < n.vaddr + n.memsz), None)
    if found is None or found.flags != s.flags:
        return False
    stored = min(found.vaddr + found.filesz, end)
    if stored < end != found.vaddr + found.memsz:
        return False
    shift = found.offset - found.vaddr
    return is_zero(new.reader, start + shift, max(start, stored) + shift)


def _find_shift(s: ProgramHeader, piece: Span, new: ElfStructure) -> int | None:
    """Return the distance from old to new file offsets for the range ``piece`` of ``s``, or None.

    An editor may give headers and tables a segment of their own and split ``s``. So each range that
    must stay is looked up by itself, at the same address with the same permissions.
    """
    if piece.start == piece.end:
        return 0
    start, end = (s.vaddr + at - s.offset for at in piece)
    n = new.find_load(start)
    if n is None or end > n.vaddr + n.filesz or n.flags != s.flags:
        return None
    return n.offset - n.vaddr + s.vaddr - s.offset


def _list_ignored(elf: ElfStructure, movable: Iterable[Span], new: ElfStructure) -> Iterator[Span]:
    """Yield the ranges that other invariants cover: headers, dynamic section, tables."""
    yield Span(0, elf.header.ehsize)
    yield elf.program_table
    yield from _find_free_header(elf, new)
    # patchelf puts the section headers into the page that it adds; the loader maps that page.
    yield elf.section_table
    yield from (s.span for s in elf.segments if s.type in COMPARED)
    yield from movable


def _find_free_header(elf: ElfStructure, new: ElfStructure) -> Iterator[Span]:
    """Yield the zeros after the program headers that are program headers in the new file.

    They must lie outside all sections: sections that do not describe them are required.
    """
    start, end = elf.program_table.end, new.program_table.end
    if not elf.section_headers or elf.program_table.start != new.program_table.start:
        return
    holes = merge_spans(s.span for s in elf.section_headers[1:])
    if list(subtract([Span(start, end)], holes)) == [(start, end)] and is_zero(
        elf.reader, start, end
    ):
        yield Span(start, end)


def _skip_padding(reader: Reader, span: Span) -> Span:
    """Return ``span`` without leading zeros, which are padding after the previous table.

    The tables that an editor moves are aligned to 16 bytes at most.
    """
    head = reader.pread(span.start, min(15, span.end - span.start))
    zeros = len(head) - len(head.lstrip(b"\0"))
    return Span(min(span.start + zeros, span.end), span.end)


def _join_padding(reader: Reader, spans: Iterable[Span]) -> list[Span]:
    """Return ``spans`` joined over padding: at most 15 zeros between one and the next."""
    joined: list[Span] = []
    for span in spans:
        gap = span.start - joined[-1].end if joined else 16
        if gap < 16 and not reader.pread(joined[-1].end, gap).strip(b"\0"):
            joined[-1] = Span(joined[-1].start, span.end)
        else:
            joined.append(span)
    return joined


def count_shared_pages(elf: ElfStructure) -> int:
    """Return the number of pairs of segments with different permissions on one page.

    The size of a page is the segment's alignment, the largest that the linker planned for. The
    program headers may share a page with the next segment if both map it from the same place in
    the file: whichever mapping is on top, their bytes are the same.
    """
    count = 0
    for one, two in pairwise(elf.loads):
        page = max(two.align, 1)
        start = two.vaddr // page * page
        if one.flags == two.flags or one.vaddr + one.memsz <= start:
            continue
        is_same_page = one.vaddr - one.offset == two.vaddr - two.offset
        shared = Span(max(start, one.vaddr) - one.vaddr + one.offset, one.offset + one.memsz)
        headers = elf.program_table
        count += not (is_same_page and headers.start <= shared.start and shared.end <= headers.end)
    return count
