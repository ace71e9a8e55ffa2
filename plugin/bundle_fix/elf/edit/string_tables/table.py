"""The table editor: it lets the dynamic string table grow without a new segment or a larger file.

A loaded segment ends within a page, and the loader maps the rest of that page of the file as well,
unused. The editor uses such a page tail, of the table's own segment or of another read-only one:

1. A copy of the whole string table, with the new strings at its end, goes into the tail.
2. Otherwise the table stays, and tables that follow it (versions, hash tables) move into the tail
   to make space for the new strings.

The size of the segment, the dynamic entries, the section headers and the section symbols are
updated, so that readelf, strip and gdb still find everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from msgspec import Struct

from bundle_fix.elf.edit.entries import PlannedItem
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_tables.dynamic_section import compute_dynamic_patch
from bundle_fix.elf.edit.string_tables.section_headers import (
    TableMove,
    apply_moves,
    compute_section_patches,
    update_entries,
)
from bundle_fix.elf.edit.string_tables.slot import (
    StringTable,
    append_strings,
    compute_reference_patches,
    place_strings,
    resolve_string_offsets,
)
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.structs import Section, Segment
from bundle_fix.elf.symbols.tables import DynamicTable, find_movable_tables
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.patches import Patch, PatchedReader


class PageTail(Struct, frozen=True):
    """The unused end of a segment's last page, from file offset ``start`` to ``end``.

    ``number`` is the position of the segment among the program headers.
    """

    number: int
    segment: Segment
    start: int
    end: int

    @property
    def to_address(self) -> int:
        """The difference between an address in the tail and its file offset."""
        return self.segment.vaddr - self.segment.offset


class TableLayout(Struct, frozen=True):
    """The new places of the string table and its neighbours.

    Attributes:
        moves: one for each table; the first is the string table's, which may keep its place.
        tail: the page tail that takes tables.
        end: the file offset up to which the tail is filled.
    """

    moves: tuple[TableMove, ...]
    tail: PageTail
    end: int


def grow_string_table(
    reader: Reader, image: Image, planned: Sequence[PlannedItem]
) -> tuple[Patch, ...]:
    """Return the patches of an edit that appends strings to the string table.

    Raises:
        CannotEditError: there is not enough space in any page tail or in the dynamic section.
    """
    strings = place_strings(reader, image, planned)
    added, offsets = append_strings(strings)
    entries = resolve_string_offsets(planned, offsets)
    references = compute_reference_patches(reader, image, planned, offsets)
    sections = read_sections(reader, image.format, image.header)
    layout = _find_layout(reader, image, strings, len(added), sections)
    contents: dict[int, bytes] = {}
    for move in layout.moves[1:]:
        data = read_exactly(PatchedReader(reader, references), move.offset, move.size)
        if data is None:
            raise CannotEditError("a table after its string table is truncated")
        contents[move.tag] = data
    patches = [
        compute_dynamic_patch(image, update_entries(entries, layout.moves)),
        _compute_segment_patch(image, layout),
        *(patch for patch in references if not _is_in_moved_table(patch, layout.moves[1:])),
        *_compute_string_patches(strings, added, layout.moves[0]),
        *(Patch(move.new_offset, contents[move.tag]) for move in layout.moves[1:]),
        *compute_section_patches(reader, image, sections, apply_moves(sections, layout.moves)),
    ]
    return tuple(sorted(patches))


def _is_in_moved_table(patch: Patch, moves: Sequence[TableMove]) -> bool:
    return any(move.offset <= patch.offset < move.offset + move.size for move in moves)


def _compute_string_patches(strings: StringTable, added: bytes, move: TableMove) -> Iterator[Patch]:
    """Yield the patches to the string table: all of it if it moves, else only the new strings."""
    if move.new_offset == move.offset:
        yield from strings.patches
        yield Patch(move.offset + move.size, added)
    else:
        # No removed string stays behind.
        yield Patch(move.offset, bytes(move.size))
        yield Patch(move.new_offset, strings.patched + added)


def _find_layout(
    reader: Reader, image: Image, strings: StringTable, growth: int, sections: Sequence[Section]
) -> TableLayout:
    """Return the layout for the first page tail with enough space.

    Raises:
        CannotEditError: no tail has enough space.
    """
    loads = [(n, s) for n, s in enumerate(image.segments) if s.type == c.PT_LOAD]
    # The table's own segment first, then segments of data, then segments of code.
    loads.sort(
        key=lambda pair: (not _contains_offset(pair[1], strings.offset), pair[1].flags & c.PF_X)
    )
    if not any(_contains_offset(s, strings.offset) for _, s in loads):
        raise CannotEditError("no loaded segment contains its string table")
    size = len(strings.data)
    address = image.find_value(c.DT_STRTAB) or 0
    table = DynamicTable(c.DT_STRTAB, address, strings.offset, size, 1)
    neighbours = _find_neighbours(reader, image, table, sections)
    for number, segment in loads:
        tail = _find_tail(reader, image, number, segment, sections)
        layout = None if tail is None else _fill_tail(table, neighbours, growth, tail)
        if layout is not None:
            return layout
    raise CannotEditError(
        "no segment has enough unused space at the end of its last page;"
        f" at least {growth} bytes are needed"
    )


def _contains_offset(segment: Segment, offset: int) -> bool:
    return segment.offset <= offset < segment.file_end


def _find_tail(
    reader: Reader, image: Image, number: int, segment: Segment, sections: Sequence[Section]
) -> PageTail | None:
    """Return the tail of ``segment``, or None if it has none that only zeros fill."""
    # A segment with memory beyond its bytes has zeros there, and a writable one may be written to.
    if segment.filesz != segment.memsz or segment.flags & (c.PF_R | c.PF_W) != c.PF_R:
        return None
    align = max(segment.align, 1)
    # The loader maps the bytes up to the page boundary anyway (glibc's dl-map-segments.h). The page
    # size of the target is unknown: only the smallest, 4 KiB, can be relied on.
    end = segment.file_end + -(segment.vaddr + segment.filesz) % 4096
    for s in image.find_loads():
        if s is not segment and s.vaddr >= segment.vaddr:
            start = s.vaddr - s.vaddr % align
            end = min(end, segment.file_end + max(0, start - segment.memory_end))
    end = min(end, *_find_later_starts(image, segment, sections))
    # Addresses end at 2**32 or 2**64.
    end = min(end, segment.offset + (1 << image.format.bits) - segment.vaddr)
    slack = reader.pread(segment.file_end, max(0, end - segment.file_end))
    if not slack or slack.strip(b"\0"):
        return None
    return PageTail(number, segment, segment.file_end, end)


def _find_later_starts(image: Image, home: Segment, sections: Sequence[Section]) -> Iterator[int]:
    """Yield the file offsets of everything that follows the segment ``home`` in the file."""
    yield image.size
    starts = [s.offset for s in image.segments if s.filesz]
    starts += [s.offset for s in sections if s.size and s.type not in (0, c.SHT_NOBITS)]
    starts += [image.header.shoff] if image.header.shoff else []
    starts += [image.header.phoff]
    yield from (start for start in starts if start >= home.file_end)


def _fill_tail(
    table: DynamicTable, neighbours: Sequence[DynamicTable], growth: int, tail: PageTail
) -> TableLayout | None:
    """Return a layout that uses ``tail``: the whole string table, or as few bytes as possible."""
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
    """Return the movable tables that follow the string table with only padding in between."""
    end, run = strings.end, []
    for table in find_movable_tables(reader, image):
        gap = table.offset - end
        if table.offset < strings.end:
            continue
        if gap >= table.align or reader.pread(end, gap).strip(b"\0"):
            break
        # A section that is larger than its table may have more data behind it.
        if any(s.addr == table.address and s.size > table.size for s in sections if s.addr):
            break
        run.append(table)
        end = table.end
    return run


def _list_subsets(tables: Sequence[DynamicTable]) -> list[tuple[DynamicTable, ...]]:
    """Return all ways to choose tables to move, the fewest bytes first."""
    subsets = [s for n in range(1, len(tables) + 1) for s in combinations(tables, n)]
    return sorted(subsets, key=lambda chosen: sum(t.size for t in chosen))


def _push_neighbours(
    stays: TableMove, near: Sequence[DynamicTable], moved: tuple[DynamicTable, ...], tail: PageTail
) -> TableLayout | None:
    """Return the layout with ``moved`` in the tail and the others of ``near`` moved up, or None."""
    moves = [stays]
    end = near[-1].end
    floor = stays.offset + stays.new_size
    # From the last table down, so that each one keeps its alignment and none overlap.
    for table in reversed([t for t in near if t not in moved]):
        place = (end - table.size) // table.align * table.align
        to_address = table.address - table.offset
        place -= (place + to_address) % table.align
        moves.append(_build_move(table, place, to_address))
        end = place
    if end < floor:
        return None
    at = tail.start
    for table in moved:
        at += -(at + tail.to_address) % table.align
        moves.append(_build_move(table, at, tail.to_address))
        at += table.size
    return TableLayout(tuple(moves), tail, at) if at <= tail.end else None


def _build_move(table: DynamicTable, offset: int, to_address: int) -> TableMove:
    return TableMove(
        table.tag, table.address, table.offset, table.size, offset + to_address, offset, table.size
    )


def _compute_segment_patch(image: Image, layout: TableLayout) -> Patch:
    segment = layout.tail.segment
    size = layout.end - segment.offset
    place = image.header.phoff + layout.tail.number * image.format.segment.size
    larger = segment._replace(filesz=size, memsz=size)
    return Patch(place, image.format.pack_segment(larger))
