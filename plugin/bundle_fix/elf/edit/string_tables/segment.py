"""The segment editor: it gives the string table a new place behind everything that is loaded.

Nothing else moves that a program can see: no section in memory, no note, no program header. There
are two ways:

1. The last segment grows. Its zeroed memory (.bss) becomes a part of the file, as zeros, and the
   table follows it.
2. An unused program header describes a new segment with the table.

What follows in the file and is not loaded (section headers, debug information) moves by a multiple
of a page. Data that no header describes cannot move: a program may find it by its offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from bundle_fix.elf.edit.entries import PlannedItem
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_tables.dynamic_section import compute_dynamic_patch
from bundle_fix.elf.edit.string_tables.free_space import find_foreign_data, find_space
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
from bundle_fix.elf.read.structs import Header, Section, Segment
from bundle_fix.model.content import Reader
from bundle_fix.model.patches import Insertion, Patch

PAGE = 4096
"""The step in which parts of a file move, in bytes."""
MAX_ZEROS = 512 << 20
"""Limit of the zeroed memory that may become a part of the file, as a hole, in bytes."""


class Growth(Struct, frozen=True):
    """The new end of what is loaded.

    Attributes:
        start: the file offset from which on new bytes are loaded.
        offset: the file offset of the new bytes of the string table; zeros precede them.
        header: the file's header.
        segments: the program headers.
        segment: the number of the program header whose segment takes the table.
    """

    start: int
    offset: int
    header: Header
    segments: tuple[Segment, ...]
    segment: int

    def extend(self, size: int) -> tuple[Segment, ...]:
        """Return the program headers with ``size`` bytes of the string table."""
        grown = self.segments[self.segment]
        end = self.offset + size - grown.offset
        changed = grown._replace(filesz=end, memsz=end)
        return (*self.segments[: self.segment], changed, *self.segments[self.segment + 1 :])


def grow_segment(
    reader: Reader, image: Image, planned: Sequence[PlannedItem]
) -> tuple[tuple[Patch, ...], Insertion | None]:
    """Return the patches of an edit that moves the string table, and the bytes to insert then.

    Raises:
        CannotEditError: there is no place for the table or for a dynamic entry.
    """
    sections = read_sections(reader, image.format, image.header)
    strings = place_strings(reader, image, planned)
    added, offsets = append_strings(strings)
    entries = resolve_string_offsets(planned, offsets)
    growth = _find_growth(reader, image, sections)
    grown = growth.segments[growth.segment]
    is_last = strings.offset + len(strings.data) == growth.start == growth.offset
    data = added if is_last else strings.patched + added
    size = len(strings.data) + len(added)
    offset = strings.offset if is_last else growth.offset
    move = TableMove(
        c.DT_STRTAB, image.find_value(c.DT_STRTAB) or 0, strings.offset, len(strings.data),
        offset - grown.offset + grown.vaddr, offset, size,
    )  # fmt: skip
    segments = growth.extend(len(data))
    _require_addresses(image, segments)
    insertion = _insert_data(reader, image, sections, growth, data)
    changed = _adapt_sections(image, growth, apply_moves(sections, [move]), insertion)
    patches = [
        compute_dynamic_patch(image, update_entries(entries, [move])),
        *compute_reference_patches(reader, image, planned, offsets),
        *_compute_string_patches(strings, is_last=is_last),
        *([] if insertion else [Patch(growth.offset, data)]),
        *_compute_header_patches(image, growth.header, segments, insertion),
        *compute_section_patches(reader, image, sections, changed),
    ]
    return tuple(sorted(patches)), insertion


def _compute_string_patches(strings: StringTable, *, is_last: bool) -> Iterator[Patch]:
    """Yield the patches to the table's old place: no removed string stays there."""
    if is_last:
        yield from strings.patches
    else:
        yield Patch(strings.offset, bytes(len(strings.data)))


def _require_addresses(image: Image, segments: Sequence[Segment]) -> None:
    if any(s.memory_end > 1 << image.format.bits for s in segments if s.type == c.PT_LOAD):
        raise CannotEditError("there are no addresses left behind its last segment")


# --- the place ----------------------------------------------------------------------------------


def _find_growth(reader: Reader, image: Image, sections: Sequence[Section]) -> Growth:
    """Return the place for the table.

    Raises:
        CannotEditError: there is none.
    """
    loads = [s for s in image.segments if s.type == c.PT_LOAD and s.memsz]
    start = max((s.file_end for s in loads if s.filesz), default=0)
    table_end = image.header.phoff + image.header.phnum * image.header.phentsize
    ends = [s.file_end for s in image.segments if s.filesz and s.memsz]
    if max(table_end, *ends) > start:
        raise CannotEditError("headers follow the bytes that are loaded")
    last = max(loads, key=lambda s: s.memory_end)
    zeros = last.memsz - last.filesz
    free = _find_free_header(reader, image, sections)
    is_behind = last.file_end == start or not last.filesz
    if is_behind and last.flags & c.PF_R and (zeros <= MAX_ZEROS if free is None else not zeros):
        return _grow_last(image, last, start)
    if free is not None:
        return _add_segment(image, last, start, free)
    if not is_behind or not last.flags & c.PF_R:
        raise CannotEditError(
            "the segment at its highest addresses is not the last one in the file, and it has no"
            " unused program header"
        )
    raise CannotEditError(
        f"the {zeros} bytes of its zeroed memory would become a part of the file (limit:"
        f" {MAX_ZEROS}), and it has no unused program header"
    )


def _grow_last(image: Image, last: Segment, start: int) -> Growth:
    """Return the growth of the last segment over its zeroed memory."""
    number = image.segments.index(last)
    if not last.filesz:
        # Nothing is loaded from its offset yet; the first one that suits its address will do.
        last = last._replace(offset=start + (last.vaddr - start) % max(last.align, 1))
    segments = (*image.segments[:number], last, *image.segments[number + 1 :])
    return Growth(start, last.offset + last.memsz, image.header, segments, number)


def _add_segment(image: Image, last: Segment, start: int, free: int) -> Growth:
    """Return a new segment after all others, described by the program header number ``free``."""
    align = max(PAGE, *(s.align for s in image.find_loads()))
    address = -(-last.memory_end // align) * align + start % align
    new = Segment(c.PT_LOAD, c.PF_R, start, address, address, 0, 0, align)
    # The gABI: PT_LOAD segments are in the order of their addresses.
    others = [s for number, s in enumerate(image.segments) if number != free]
    after = 1 + max(n for n, s in enumerate(others) if s.type == c.PT_LOAD)
    others.insert(after, new)
    header = image.header._replace(phnum=len(others))
    size = len(others) * header.phentsize
    segments = tuple(
        s._replace(filesz=size, memsz=size) if s.type == c.PT_PHDR else s for s in others
    )
    return Growth(start, start, header, segments, after)


def _find_free_header(reader: Reader, image: Image, sections: Sequence[Section]) -> int | None:
    """Return the number of a program header that is unused, or follows the others; or None."""
    for number, segment in enumerate(image.segments):
        if segment.type == c.PT_NULL:
            return number
    header = image.header
    end = header.phoff + header.phnum * header.phentsize
    # Without section headers, the zeros may be data of the program.
    is_free = sections and find_space(reader, image, sections, end) >= header.phentsize
    return header.phnum if is_free else None


# --- the file around it -------------------------------------------------------------------------


def _insert_data(
    reader: Reader, image: Image, sections: Sequence[Section], growth: Growth, data: bytes
) -> Insertion | None:
    """Return the bytes to insert; None if unused bytes at the place suffice.

    Raises:
        CannotEditError: data would move that cannot.
    """
    zeros = growth.offset - growth.start
    size = zeros + len(data)
    if growth.start == reader.size:
        return Insertion(growth.start, zeros, data, size)
    if find_space(reader, image, sections, growth.start) >= size:
        return None
    for number, s in enumerate(sections):
        loaded = s.flags & c.SHF_ALLOC and s.offset >= growth.start
        across = s.offset < growth.start < s.offset + s.size
        if (loaded or across) and s.size and s.type not in (0, c.SHT_NOBITS):
            raise CannotEditError(f"no segment contains its section {number}, which would move")
    foreign = find_foreign_data(reader, image, sections, growth.start)
    if foreign is not None:
        raise CannotEditError(
            f"it has data at offset {foreign} that no header describes, and which would move"
        )
    return Insertion(growth.start, zeros, data, -(-size // PAGE) * PAGE)


def _adapt_sections(
    image: Image, growth: Growth, sections: Sequence[Section], insertion: Insertion | None
) -> list[Section]:
    """Return the section headers of the new file: zeroed memory is stored, the rest moved."""
    grown = growth.segments[growth.segment]
    is_grown = grown.memsz > grown.filesz
    result = list(sections)
    for number, s in enumerate(sections):
        is_zeroed = s.type == c.SHT_NOBITS and s.flags & c.SHF_ALLOC and not s.flags & c.SHF_TLS
        if is_grown and is_zeroed and grown.vaddr <= s.addr < grown.memory_end and s.size:
            offset = grown.offset + s.addr - grown.vaddr
            result[number] = s._replace(type=c.SHT_PROGBITS, offset=offset)
        elif insertion and not s.flags & c.SHF_ALLOC and s.offset >= insertion.offset:
            result[number] = s._replace(offset=s.offset + insertion.size)
    return result


def _compute_header_patches(
    image: Image, header: Header, segments: Sequence[Segment], insertion: Insertion | None
) -> Iterator[Patch]:
    """Yield the patches to the file's header and to the program headers."""
    if insertion and header.shoff >= insertion.offset:
        header = header._replace(shoff=header.shoff + insertion.size)
    if header != image.header:
        yield Patch(16, image.format.header.pack(*header))
    for number, segment in enumerate(segments):
        # Such as PT_RISCV_ATTRIBUTES, which is not loaded.
        new = segment
        if insertion and segment.filesz and not segment.memsz:
            moved = segment.offset >= insertion.offset and insertion.size
            new = segment._replace(offset=segment.offset + moved)
        if new not in image.segments[number : number + 1]:
            place = header.phoff + number * header.phentsize
            yield Patch(place, image.format.pack_segment(new))
