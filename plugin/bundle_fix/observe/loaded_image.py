"""An ELF file as it is mapped in memory.

Its tables are read at the addresses at which PT_LOAD segments map them, so that the reader of ELF
files serves here too. glibc adds the load address to pointers of the dynamic section
(elf/get-dynamic-info.h, ADJUST_DYN_INFO); it is subtracted again.
"""

from __future__ import annotations

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.notes import MAX_NOTES, read_build_id
from bundle_fix.elf.read.parser import (
    MAX_DYNAMIC,
    MAX_HEADER,
    MAX_SEGMENTS,
    parse_header,
    read_image,
)
from bundle_fix.elf.read.structs import Format, Header, Segment
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import Patch, PatchedReader

DT_PLTGOT, DT_MIPS_RLD_MAP = 3, 0x70000016
POINTER_TAGS = frozenset(
    {
        DT_PLTGOT, c.DT_HASH, c.DT_STRTAB, c.DT_SYMTAB, c.DT_RELA, c.DT_REL, c.DT_JMPREL,
        c.DT_GNU_HASH, c.DT_VERSYM,
    }
)  # fmt: skip
"""The tags whose values glibc replaces by addresses."""
PAGE = 4096


class MappedReader(Struct, frozen=True):
    """Reader of a file's bytes in memory, by the offsets that they have in the file."""

    memory: Reader
    header: int
    bias: int
    loads: tuple[Segment, ...]
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`; bytes that no segment maps are missing."""
        for s in self.loads:
            if s.offset <= offset < s.file_end:
                size = min(length, s.file_end - offset)
                return self.memory.pread(self.bias + s.vaddr + offset - s.offset, size)
        if 0 <= offset < PAGE:
            return self.memory.pread(self.header + offset, min(length, PAGE - offset))
        return b""


class LoadedImage(Struct, frozen=True):
    """An ELF file in memory.

    Attributes:
        header: the address of its ELF header.
        bias: the difference between its addresses in memory and in the file (l_addr).
        image: its headers; without the dynamic section if that was not dumped.
        reader: its bytes by their offsets in the file, as far as they are in memory.
        dynamic_address: the address of its dynamic section; 0 without one.
        dynamic: the dynamic section with the values in memory.
        build_id: in lower-case hexadecimal, or None.
        is_complete: whether ``image`` has all that the file's own headers have.
    """

    header: int
    bias: int
    image: Image
    reader: Reader
    dynamic_address: int
    dynamic: tuple[DynamicEntry, ...]
    build_id: str | None
    is_complete: bool

    def count_entries(self) -> int:
        """Return the number of program headers, dynamic entries and notes that may be read."""
        notes = sum(s.filesz // 16 for s in self.image.segments if s.type == c.PT_NOTE)
        names = sum(map(len, self.image.needed)) // 16
        return len(self.image.segments) + len(self.dynamic) + min(notes, MAX_NOTES // 16) + names

    def find_debug_pointer(self, memory: Reader) -> int:
        """Return the address of the loader's ``struct r_debug``, or 0."""
        word = self.image.format.word
        for index, (tag, value) in enumerate(self.dynamic):
            if tag == c.DT_DEBUG and value:
                return value
            # MIPS: the dynamic section is read-only and leads to a word with the address.
            place = value
            if tag == c.DT_MIPS_RLD_MAP_REL:
                place = self.dynamic_address + index * self.image.format.dynamic.size + value
            if tag in (c.DT_MIPS_RLD_MAP_REL, DT_MIPS_RLD_MAP):
                data = read_exactly(memory, place % (1 << self.image.format.bits), word.size)
                return 0 if data is None else int(word.unpack(data)[0])
        return 0


def read_loaded_image(memory: Reader, header: int) -> LoadedImage | None:
    """Return the ELF file whose header is at the address ``header``; None if there is none."""
    try:
        layout, fields = parse_header(memory.pread(header, MAX_HEADER))
    except DamagedElfError:
        return None
    segments = _read_mapped_segments(memory, layout, fields, header)
    loads = tuple(s for s in segments if s.type == c.PT_LOAD)
    if not loads:
        return None
    bias = _compute_bias(header, loads)
    size = max(s.file_end for s in loads)
    reader: Reader = MappedReader(memory, header, bias, loads, size)
    address, dynamic, patch = _read_dynamic(memory, layout, segments, bias)
    partial = Image(layout, fields, segments, size)
    try:
        reader = PatchedReader(reader, (patch,)) if patch is not None else reader
        image, is_complete = read_image(reader), True
    except DamagedElfError:
        # Pages that are the same as in the file are usually not dumped (core(5)).
        image, is_complete = partial, False
    return LoadedImage(
        header, bias, image, reader, address, dynamic, read_build_id(reader, partial), is_complete
    )


def _read_mapped_segments(
    memory: Reader, layout: Format, fields: Header, header: int
) -> tuple[Segment, ...]:
    size = layout.segment.size
    if fields.phentsize != size or not 0 < fields.phnum <= MAX_SEGMENTS:
        return ()
    table = memory.pread(header + fields.phoff, fields.phnum * size)
    whole = len(table) - len(table) % size
    return tuple(layout.unpack_segment(table[i : i + size]) for i in range(0, whole, size))


def _compute_bias(header: int, loads: tuple[Segment, ...]) -> int:
    """Return the load address: the header is the first byte of the file."""
    first = next((s for s in loads if s.offset < PAGE), loads[0])
    return header - (first.vaddr - first.offset)


def _read_dynamic(
    memory: Reader, layout: Format, segments: tuple[Segment, ...], bias: int
) -> tuple[int, tuple[DynamicEntry, ...], Patch | None]:
    """Return address and entries of the dynamic section, and the patch that restores the file's."""
    segment = next((s for s in segments if s.type == c.PT_DYNAMIC), None)
    if segment is None:
        return 0, (), None
    address, step = bias + segment.vaddr, layout.dynamic.size
    data = memory.pread(address, min(segment.filesz, MAX_DYNAMIC))
    entries: list[DynamicEntry] = []
    restored = bytearray()
    for tag, value in layout.dynamic.iter_unpack(data[: len(data) - len(data) % step]):
        entries.append(DynamicEntry(tag, value))
        is_moved = tag in POINTER_TAGS and bias > 0 and not _is_inside(segments, value)
        restored += layout.dynamic.pack(tag, value - bias if is_moved and value >= bias else value)
        if tag == c.DT_NULL:
            break
    patch = Patch(segment.offset, bytes(restored)) if restored else None
    return address, tuple(entries), patch


def _is_inside(segments: tuple[Segment, ...], address: int) -> bool:
    """Return whether ``address``, as the file counts, is in a PT_LOAD segment."""
    return any(s.type == c.PT_LOAD and s.vaddr <= address < s.memory_end for s in segments)
