"""The table editor: the dynamic string table grows with no new segment and no growth of the file.

Every segment that is loaded ends somewhere in a page, and what follows in that page of the file is
loaded too, unused. Into such a tail, of the table's own segment or else of another that is never
written to, goes either a copy of the whole string table with the new
strings at its end, or whichever of the table's neighbours (versions, hash tables) must make room
for the strings where the table stands. The segment's size, the dynamic entries, the section
headers and the section symbols follow, so that readelf, strip and gdb still see one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import combinations

from msgspec import Struct

from bundle_fix.elf.edit.entries import PlannedEntry
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.section_headers import TableMove, compute_section_patches
from bundle_fix.elf.edit.slot import (
    StringTable,
    compute_dynamic_patch,
    compute_version_patches,
    place_strings,
    resolve_string_offsets,
)
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.structs import Section, Segment
from bundle_fix.elf.symbols.tables import DynamicTable, find_movable_tables
from bundle_fix.model.content import Patch, PatchedReader, Reader, read_exactly


class PageTail(Struct, frozen=True):
    """The unused end of a segment's last page: file offsets, and their distance to addresses.

    ``number`` is the segment's place among the program headers.
    """

    number: int
    segment: Segment
    start: int
    end: int

    @property
    def to_address(self) -> int:
        """What to add to a file offset in the tail to get its address."""
        return self.segment.vaddr - self.segment.offset


class TableLayout(Struct, frozen=True):
    """Where the string table and its neighbours go.

    ``moves`` has every table at its new place; the string table is first and may stay. ``end`` is
    how far ``tail`` is filled, a file offset.
    """

    moves: tuple[TableMove, ...]
    tail: PageTail
    end: int


def grow_string_table(
    reader: Reader, image: Image, wanted: Sequence[PlannedEntry]
) -> tuple[Patch, ...]:
    """The patches of an edit that lets the string table grow.

    Raises:
        CannotEditError: there is no page slack, or not enough, or no spare dynamic entry.
    """
    strings = place_strings(reader, image, wanted)
    added, offsets = _append_strings(strings)
    offsets |= strings.placement.offsets
    entries = resolve_string_offsets(wanted, offsets)
    versions = compute_version_patches(reader, image, wanted, offsets)
    sections = read_sections(reader, image.format, image.header)
    layout = _find_layout(reader, image, strings, len(added), sections)
    contents: dict[int, bytes] = {}
    for move in layout.moves[1:]:
        data = read_exactly(PatchedReader(reader, versions), move.offset, move.size)
        if data is None:
            raise CannotEditError("a table beside the string table is cut short")
        contents[move.tag] = data
    patches = [
        compute_dynamic_patch(image, _update_entries(entries, layout, layout.moves[0].new_size)),
        _compute_segment_patch(image, layout),
        *(versions if c.DT_VERNEED not in contents else ()),
        *_compute_string_patches(strings, added, layout.moves[0]),
        *(Patch(move.new_offset, contents[move.tag]) for move in layout.moves[1:]),
        *compute_section_patches(reader, image, sections, layout.moves),
    ]
    return tuple(sorted(patches))


def _compute_string_patches(strings: StringTable, added: bytes, move: TableMove) -> Iterator[Patch]:
    """The string table where it moves; what is new in it where it stays."""
    if move.new_offset == move.offset:
        yield from strings.patches
        yield Patch(move.offset + move.size, added)
    else:
        yield Patch(move.new_offset, strings.patched + added)


def _append_strings(strings: StringTable) -> tuple[bytes, dict[str, int]]:
    """The bytes to add to the table and where in it the homeless strings then are."""
    base, added = len(strings.data), b""
    if not strings.data.endswith(b"\0"):
        raise CannotEditError("its dynamic string table does not end in NUL")
    offsets: dict[str, int] = {}
    for text in strings.placement.unplaced:
        data = os.fsencode(text) + b"\0"
        found = added.find(data)
        if found < 0:
            found, added = len(added), added + data
        offsets[text] = base + found
    return added, offsets


def _find_layout(
    reader: Reader, image: Image, strings: StringTable, growth: int, sections: Sequence[Section]
) -> TableLayout:
    """The layout in the first tail that has room: its own segment's, then others'."""
    loads = [(n, s) for n, s in enumerate(image.segments) if s.type == c.PT_LOAD]
    # Data that is never written to or run first; the table's own segment before all.
    loads.sort(
        key=lambda pair: (not _contains_offset(pair[1], strings.offset), pair[1].flags & c.PF_X)
    )
    if not any(_contains_offset(s, strings.offset) for _, s in loads):
        raise CannotEditError("its string table lies in no loaded segment")
    size = len(strings.data)
    address = image.find_value(c.DT_STRTAB) or 0
    table = DynamicTable(c.DT_STRTAB, address, strings.offset, size, 1)
    neighbours = _find_neighbours(reader, image, table, sections)
    for number, segment in loads:
        tail = _find_tail(reader, image, number, segment, sections)
        layout = None if tail is None else _fill_tail(table, neighbours, growth, tail)
        if layout is not None:
            return layout
    raise CannotEditError("no segment has enough unused space at the end of its last page")


def _contains_offset(segment: Segment, offset: int) -> bool:
    return segment.offset <= offset < segment.file_end


def _find_tail(
    reader: Reader, image: Image, number: int, segment: Segment, sections: Sequence[Section]
) -> PageTail | None:
    if segment.filesz != segment.memsz or segment.flags & (c.PF_R | c.PF_W) != c.PF_R:
        return None
    align = max(segment.align, 1)
    # Up to the page boundary the loader maps the bytes in any case (dl-map-segments.h); of the
    # page's size only the smallest there is, 4 KiB, may be relied on.
    end = segment.file_end + -(segment.vaddr + segment.filesz) % 4096
    for s in image.find_loads():
        if s is not segment and s.vaddr >= segment.vaddr:
            start = s.vaddr - s.vaddr % align
            end = min(end, segment.file_end + max(0, start - segment.memory_end))
    end = min(end, *_find_later_starts(image, segment, sections))
    # Behind the last address there is none.
    end = min(end, segment.offset + (1 << image.format.bits) - segment.vaddr)
    slack = reader.pread(segment.file_end, max(0, end - segment.file_end))
    if not slack or slack.strip(b"\0"):
        return None
    return PageTail(number, segment, segment.file_end, end)


def _find_later_starts(image: Image, home: Segment, sections: Sequence[Section]) -> Iterator[int]:
    """The file offsets of whatever stands behind the segment ``home``."""
    yield image.size
    starts = [s.offset for s in image.segments if s.filesz]
    starts += [s.offset for s in sections if s.size and s.type not in (0, c.SHT_NOBITS)]
    starts += [image.header.shoff] if image.header.shoff else []
    starts += [image.header.phoff]
    yield from (start for start in starts if start >= home.file_end)


def _fill_tail(
    table: DynamicTable, neighbours: Sequence[DynamicTable], growth: int, tail: PageTail
) -> TableLayout | None:
    """The string table whole in the tail, or else the fewest bytes of its neighbours."""
    size = table.size + growth
    if size <= tail.end - tail.start:
        move = TableMove(
            table.tag, table.address, table.offset, table.size,
            tail.start + tail.to_address, tail.start, size,
        )  # fmt: skip
        return TableLayout((move,), tail, tail.start + size)
    stays = TableMove(
        table.tag, table.address, table.offset, table.size, table.address, table.offset, size
    )
    for count in range(1, len(neighbours) + 1):
        near = neighbours[:count]
        for moved in _list_subsets(near):
            layout = _push_neighbours(stays, near, moved, tail)
            if layout is not None:
                return layout
    return None


def _find_neighbours(
    reader: Reader, image: Image, strings: DynamicTable, sections: Sequence[Section]
) -> list[DynamicTable]:
    """The movable tables that follow the string table with nothing but padding between them."""
    end, run = strings.end, []
    for table in find_movable_tables(reader, image):
        gap = table.offset - end
        if table.offset < strings.end:
            continue
        if gap >= table.align or reader.pread(end, gap).strip(b"\0"):
            break
        if any(s.addr == table.address and s.size > table.size for s in sections if s.addr):
            break
        run.append(table)
        end = table.end
    return run


def _list_subsets(tables: Sequence[DynamicTable]) -> list[tuple[DynamicTable, ...]]:
    """All ways to choose tables that move away, the fewest bytes first."""
    subsets = [s for n in range(1, len(tables) + 1) for s in combinations(tables, n)]
    return sorted(subsets, key=lambda chosen: sum(t.size for t in chosen))


def _push_neighbours(
    stays: TableMove, near: Sequence[DynamicTable], moved: tuple[DynamicTable, ...], tail: PageTail
) -> TableLayout | None:
    """``moved`` in the tail and the rest of ``near`` pushed up behind the grown string table."""
    moves = [stays]
    end = near[-1].end
    floor = stays.offset + stays.new_size
    for table in reversed([t for t in near if t not in moved]):
        place = (end - table.size) // table.align * table.align
        to_address = table.address - table.offset
        place -= (place + to_address) % table.align
        moves.append(_make_move(table, place, to_address))
        end = place
    if end < floor:
        return None
    at = tail.start
    for table in moved:
        at += -(at + tail.to_address) % table.align
        moves.append(_make_move(table, at, tail.to_address))
        at += table.size
    return TableLayout(tuple(moves), tail, at) if at <= tail.end else None


def _make_move(table: DynamicTable, offset: int, to_address: int) -> TableMove:
    return TableMove(
        table.tag, table.address, table.offset, table.size, offset + to_address, offset, table.size
    )


def _update_entries(
    entries: Sequence[DynamicEntry], layout: TableLayout, size: int
) -> list[DynamicEntry]:
    addresses = {move.tag: move.new_address for move in layout.moves}
    values = {**addresses, c.DT_STRSZ: size}
    return [DynamicEntry(e.tag, values.get(e.tag, e.value)) for e in entries]


def _compute_segment_patch(image: Image, layout: TableLayout) -> Patch:
    segment = layout.tail.segment
    size = layout.end - segment.offset
    place = image.header.phoff + layout.tail.number * image.format.segment.size
    larger = segment._replace(filesz=size, memsz=size)
    return Patch(place, image.format.pack_segment(larger))
