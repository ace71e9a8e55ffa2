"""The table editor: the dynamic string table grows with no new segment and no growth of the file.

Every segment that is loaded ends somewhere in a page, and what follows in that page of the file is
loaded too, unused. Into that tail goes either a copy of the whole string table with the new
strings at its end, or whichever of the table's neighbours (versions, hash tables) must make room
for the strings where the table stands. The segment's size, the dynamic entries, the section
headers and the section symbols follow, so that readelf, strip and gdb still see one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from bundle_fix.content import Patch, Reader, read_exactly
from bundle_fix.elf import constants as c
from bundle_fix.elf.changes import Wanted
from bundle_fix.elf.editors.slot import Strings, dynamic_patch, place_strings, settle
from bundle_fix.elf.image import Entry, Image, read_sections
from bundle_fix.elf.section_headers import Move, section_patches
from bundle_fix.elf.strings import CannotEditError
from bundle_fix.elf.structs import Section, Segment
from bundle_fix.elf.tables import Table, movable_tables


@dataclass(frozen=True, slots=True)
class Tail:
    """The unused end of a segment's last page: file offsets, and its distance to the addresses."""

    start: int
    end: int
    to_address: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the string table and its neighbours go; ``end`` is the segment's new end in the file.

    ``moves`` has every table at its new place; the string table is first and may stay.
    """

    moves: tuple[Move, ...]
    end: int


def edit_table(reader: Reader, image: Image, wanted: Sequence[Wanted]) -> tuple[Patch, ...]:
    """The patches of an edit that lets the string table grow.

    Raises:
        CannotEditError: there is no page slack, or not enough, or no spare dynamic entry.
    """
    strings = place_strings(reader, image, wanted)
    added, offsets = _append(strings)
    entries = settle(wanted, {**strings.placement.offsets, **offsets})
    number, segment = _home(image, strings.offset)
    sections = read_sections(reader, image.format, image.header)
    tail = _tail(reader, image, segment, sections)
    layout = _lay_out(reader, image, strings, len(added), tail, sections)
    table = strings.patched + added
    contents = {c.DT_STRTAB: table}
    for move in layout.moves[1:]:
        data = read_exactly(reader, move.offset, move.size)
        if data is None:
            raise CannotEditError("a table beside the string table is cut short")
        contents[move.tag] = data
    patches = [
        dynamic_patch(image, _repoint(entries, layout, len(table))),
        _segment_patch(image, number, segment, layout.end),
        *(Patch(move.new_offset, contents[move.tag]) for move in layout.moves),
        *section_patches(reader, image, sections, layout.moves),
    ]
    return tuple(sorted(patches))


def _append(strings: Strings) -> tuple[bytes, dict[str, int]]:
    """The bytes to add to the table and where in it the homeless strings then are."""
    base, added = len(strings.data), b""
    if not strings.data.endswith(b"\0"):
        raise CannotEditError("its dynamic string table does not end in NUL")
    offsets: dict[str, int] = {}
    for text in strings.placement.homeless:
        data = os.fsencode(text) + b"\0"
        found = added.find(data)
        if found < 0:
            found, added = len(added), added + data
        offsets[text] = base + found
    return added, offsets


def _home(image: Image, offset: int) -> tuple[int, Segment]:
    for number, s in enumerate(image.segments):
        if s.type == c.PT_LOAD and s.offset <= offset < s.file_end:
            return number, s
    raise CannotEditError("its string table lies in no loaded segment")


def _tail(reader: Reader, image: Image, home: Segment, sections: Sequence[Section]) -> Tail:
    if home.filesz != home.memsz:
        raise CannotEditError("the segment of its string table ends in zeroed memory, not in slack")
    align = max(home.align, 1)
    # Up to the page boundary the loader maps the bytes in any case (dl-map-segments.h); a page
    # smaller than p_align is all that may be relied on, and 4 KiB is the smallest there is.
    page = min(align, 4096) if align > 1 else 4096
    end = home.file_end + (-(home.vaddr + home.filesz)) % page
    for s in image.loads():
        if s is not home and s.vaddr >= home.vaddr:
            start = s.vaddr - s.vaddr % align
            end = min(end, home.file_end + max(0, start - home.memory_end))
    end = min(end, image.size, *_later_starts(image, home, sections))
    slack = reader.pread(home.file_end, max(0, end - home.file_end))
    if not slack or slack.strip(b"\0"):
        raise CannotEditError("there is no unused space after the segment of its string table")
    return Tail(home.file_end, end, home.vaddr - home.offset)


def _later_starts(image: Image, home: Segment, sections: Sequence[Section]) -> Iterator[int]:
    """The file offsets of whatever stands behind the segment ``home``."""
    yield image.size
    starts = [s.offset for s in image.segments if s.filesz]
    starts += [s.offset for s in sections if s.size and s.type not in (0, c.SHT_NOBITS)]
    starts += [image.header.shoff] if image.header.shoff else []
    starts += [image.header.phoff]
    yield from (start for start in starts if start >= home.file_end)


def _lay_out(
    reader: Reader,
    image: Image,
    strings: Strings,
    growth: int,
    tail: Tail,
    sections: Sequence[Section],
) -> Layout:
    size = len(strings.data)
    address = image.first(c.DT_STRTAB) or 0
    old = Table(c.DT_STRTAB, address, strings.offset, size, 1)
    if size + growth <= tail.end - tail.start:
        move = Move(old.tag, address, old.offset, size, tail.start + tail.to_address, tail.start,
                    size + growth)  # fmt: skip
        return Layout((move,), tail.start + size + growth)
    stays = Move(old.tag, address, old.offset, size, address, old.offset, size + growth)
    neighbours = _neighbours(reader, image, old, sections)
    for count in range(1, len(neighbours) + 1):
        near = neighbours[:count]
        for moved in _by_size(near):
            layout = _squeeze(stays, near, moved, growth, tail)
            if layout is not None:
                return layout
    raise CannotEditError("the unused space after the segment of its string table is too small")


def _neighbours(
    reader: Reader, image: Image, strings: Table, sections: Sequence[Section]
) -> list[Table]:
    """The movable tables that follow the string table with nothing but padding between them."""
    end, run = strings.end, []
    for table in movable_tables(reader, image):
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


def _by_size(tables: Sequence[Table]) -> list[tuple[Table, ...]]:
    """All ways to choose tables that move away, the fewest bytes first."""
    subsets = [s for n in range(1, len(tables) + 1) for s in combinations(tables, n)]
    return sorted(subsets, key=lambda chosen: sum(t.size for t in chosen))


def _squeeze(
    stays: Move, near: Sequence[Table], moved: tuple[Table, ...], growth: int, tail: Tail
) -> Layout | None:
    """``moved`` in the tail and the rest of ``near`` pushed up behind the grown string table."""
    moves = [stays]
    end = near[-1].end
    floor = stays.offset + stays.size + growth
    for table in reversed([t for t in near if t not in moved]):
        place = (end - table.size) // table.align * table.align
        place -= (place + tail.to_address) % table.align
        moves.append(_moved(table, place, tail))
        end = place
    if end < floor:
        return None
    at = tail.start
    for table in moved:
        at += -(at + tail.to_address) % table.align
        moves.append(_moved(table, at, tail))
        at += table.size
    return Layout(tuple(moves), at) if at <= tail.end else None


def _moved(table: Table, offset: int, tail: Tail) -> Move:
    return Move(table.tag, table.address, table.offset, table.size, offset + tail.to_address,
                offset, table.size)  # fmt: skip


def _repoint(entries: Sequence[Entry], layout: Layout, size: int) -> list[Entry]:
    addresses = {move.tag: move.new_address for move in layout.moves}
    values = {**addresses, c.DT_STRSZ: size}
    return [Entry(e.tag, values.get(e.tag, e.value)) for e in entries]


def _segment_patch(image: Image, number: int, segment: Segment, end: int) -> Patch:
    size = end - segment.offset
    larger = segment._replace(filesz=size, memsz=size)
    place = image.header.phoff + number * image.format.segment.size
    return Patch(place, image.format.pack_segment(larger))
