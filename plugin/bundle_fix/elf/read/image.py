"""What the loader reads of an ELF file: header, program headers, dynamic section, its strings.

This runs on every file of every check, so it reads with a few `pread` calls, needs no section
headers, and trusts no number that it finds: everything is bounded by the file's size.
Source: the System V gABI, chapters 4 and 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.machines import machine_name
from bundle_fix.elf.read.structs import Format, Header, Section, Segment, elf_format
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import BundleFixError

MAGIC = b"\x7fELF"
IDENT_SIZE = 16
MAX_DYNAMIC = 1 << 20
"""Bytes of a dynamic section that are read; the largest known have a few thousand."""
MAX_STRING = 1 << 16
"""Bytes of one string; the longest RUNPATHs known (Nix) have a few thousand."""
MAX_NEEDED = 1 << 20
"""Bytes of all needed names together."""
MAX_SEGMENTS = 1 << 12
"""Program headers of a program or library; Linux starts none with more than 1,170 of them."""
MAX_SECTIONS = 1 << 16
"""Section headers that are read; only object files are known to have more."""

ORDERS: dict[int, Literal["little", "big"]] = {1: "little", 2: "big"}
CLASSES = {1: 32, 2: 64}
TYPES = {c.ET_REL: "rel", c.ET_EXEC: "exec", c.ET_DYN: "dyn", c.ET_CORE: "core"}


class DamagedElfError(BundleFixError):
    """The file begins as ELF but its headers contradict its size or each other."""


class Entry(NamedTuple):
    """One entry of the dynamic section."""

    tag: int
    value: int


class Image(Struct, frozen=True):
    """What was read from one ELF file.

    ``dynamic`` holds the entries before the DT_NULL that ends them; it is None for a file without
    a dynamic section: static programs, ``.o``, core and debug-only files.
    """

    format: Format
    header: Header
    segments: tuple[Segment, ...]
    size: int
    dynamic: tuple[Entry, ...] | None = None
    interpreter: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    abi: int = 0
    """The system that it is for (e_ident[EI_OSABI]); 0 and 3 are what Linux has."""

    @property
    def machine(self) -> str:
        """The machine's name, such as ``x86_64``."""
        return machine_name(self.header.machine)

    @property
    def type(self) -> str:
        """``rel``, ``exec``, ``dyn``, ``core``, or the number where it is none of these."""
        return TYPES.get(self.header.type, str(self.header.type))

    @property
    def architecture(self) -> tuple[int, str, int]:
        """Class, byte order, machine: what must be equal for one object to load another."""
        return self.format.bits, self.format.order, self.header.machine

    @property
    def is_dynamic(self) -> bool:
        """Whether the loader has anything to do with it."""
        return self.dynamic is not None

    def first(self, tag: int) -> int | None:
        """The value of the first dynamic entry with ``tag``."""
        for entry in self.dynamic or ():
            if entry.tag == tag:
                return entry.value
        return None

    @property
    def is_program(self) -> bool:
        """Whether it is started by execve and needs the loader: an interpreter and no soname.

        libc.so.6 and libpthread.so.0 have an interpreter as well, to print their version.
        """
        pie = (self.first(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
        return self.interpreter is not None and self.is_dynamic and bool(pie or not self.soname)

    @property
    def is_library(self) -> bool:
        """Whether it is a shared object that others may need or open."""
        return self.header.type == c.ET_DYN and self.is_dynamic and not self.is_program

    def loads(self) -> tuple[Segment, ...]:
        """The PT_LOAD segments."""
        return tuple(s for s in self.segments if s.type == c.PT_LOAD)

    def file_offset(self, address: int) -> int | None:
        """Where in the file the byte at ``address`` is, or None where no segment loads it."""
        for s in self.loads():
            if s.vaddr <= address < s.vaddr + s.filesz:
                return s.offset + address - s.vaddr
        return None


def is_elf(reader: Reader) -> bool:
    """Whether the content begins as an ELF file does."""
    return reader.pread(0, 4) == MAGIC


def read_image(reader: Reader) -> Image:
    """Read what the loader reads.

    Raises:
        DamagedElfError: a header lies, or the dynamic section cannot be read.
    """
    ident = reader.pread(0, IDENT_SIZE + 48)
    if len(ident) < IDENT_SIZE or ident[:4] != MAGIC:
        raise DamagedElfError("the ELF header is cut short")
    if ident[4] not in CLASSES or ident[5] not in ORDERS:
        raise DamagedElfError(f"ELF class {ident[4]} with byte order {ident[5]} does not exist")
    fmt = elf_format(CLASSES[ident[4]], ORDERS[ident[5]])
    raw = ident[IDENT_SIZE : IDENT_SIZE + fmt.header.size]
    if len(raw) < fmt.header.size:
        raise DamagedElfError("the ELF header is cut short")
    header = Header(*fmt.header.unpack(raw))
    if header.type not in (c.ET_EXEC, c.ET_DYN):
        return Image(fmt, header, (), reader.size)
    segments = _segments(reader, fmt, header)
    return _with_dynamic(reader, Image(fmt, header, segments, reader.size, abi=ident[7]))


def _segments(reader: Reader, fmt: Format, header: Header) -> tuple[Segment, ...]:
    if header.phoff == 0 or header.phnum == 0:
        return ()
    count = header.phnum
    if count > MAX_SEGMENTS:
        raise DamagedElfError(f"it claims {count} program headers")
    if header.phentsize != fmt.segment.size:
        raise DamagedElfError(f"program headers of {header.phentsize} bytes each do not exist")
    table = read_exactly(reader, header.phoff, count * fmt.segment.size)
    if table is None:
        raise DamagedElfError(
            f"its {count} program headers at offset {header.phoff} lie beyond the file's"
            f" {reader.size} bytes"
        )
    step = fmt.segment.size
    return tuple(fmt.unpack_segment(table[i : i + step]) for i in range(0, len(table), step))


def read_sections(reader: Reader, fmt: Format, header: Header) -> tuple[Section, ...]:
    """The section headers; empty where there are none to be read."""
    if header.shoff == 0 or header.shentsize != fmt.section.size:
        return ()
    first = read_exactly(reader, header.shoff, fmt.section.size)
    if first is None:
        return ()
    # The gABI: with 0xff00 sections or more, the number stands in the first header's sh_size.
    count = header.shnum or Section(*fmt.section.unpack(first)).size
    if count > MAX_SECTIONS:
        return ()
    table = read_exactly(reader, header.shoff, count * fmt.section.size)
    if table is None:
        return ()
    return tuple(Section(*fields) for fields in fmt.section.iter_unpack(table))


def _with_dynamic(reader: Reader, image: Image) -> Image:
    segment = next((s for s in image.segments if s.type == c.PT_DYNAMIC), None)
    if segment is None or segment.filesz == 0:
        return image
    # Split debug files keep the program headers of the program they were taken from, and where
    # its dynamic section was there is now anything. A real one always has a string table.
    try:
        entries = _entries(reader, image.format, segment)
        complete = _with_strings(reader, image, entries)
    except DamagedElfError:
        if _is_debug_only(reader, image, segment):
            return image
        raise
    if complete.first(c.DT_STRTAB) is None and _is_debug_only(reader, image, segment):
        return image
    return complete


def _is_debug_only(reader: Reader, image: Image, dynamic: Segment) -> bool:
    sections = read_sections(reader, image.format, image.header)
    return any(s.type == c.SHT_NOBITS and s.addr == dynamic.vaddr for s in sections)


def _entries(reader: Reader, fmt: Format, segment: Segment) -> tuple[Entry, ...]:
    data = read_exactly(reader, segment.offset, min(segment.filesz, MAX_DYNAMIC))
    if data is None:
        raise DamagedElfError(
            f"its dynamic section ({segment.filesz} bytes at offset {segment.offset}) lies beyond"
            f" the file's {reader.size} bytes"
        )
    entries = []
    whole = len(data) - len(data) % fmt.dynamic.size
    for tag, value in fmt.dynamic.iter_unpack(data[:whole]):
        if tag == c.DT_NULL:
            break
        entries.append(Entry(tag, value))
    return tuple(entries)


def _with_strings(reader: Reader, image: Image, entries: tuple[Entry, ...]) -> Image:
    with_entries = replace(image, dynamic=entries)
    table = string_table(with_entries)
    if table is None:
        if any(e.tag in c.STRING_TAGS for e in entries):
            raise DamagedElfError("its dynamic section has no string table inside a loaded segment")
        return replace(with_entries, interpreter=_interpreter(reader, image))
    start, size = table
    if start + size > reader.size:
        raise DamagedElfError(
            f"its dynamic string table ({size} bytes at offset {start}) lies beyond the file's"
            f" {reader.size} bytes"
        )

    def text(offset: int) -> str:
        return os.fsdecode(text_at(reader, table, offset))

    def single(tag: int) -> str | None:
        value = with_entries.first(tag)
        return None if value is None else text(value)

    return replace(
        with_entries,
        interpreter=_interpreter(reader, image),
        soname=single(c.DT_SONAME),
        needed=_needed(text, entries),
        rpath=single(c.DT_RPATH),
        runpath=single(c.DT_RUNPATH),
    )


def _needed(text: Callable[[int], str], entries: tuple[Entry, ...]) -> tuple[str, ...]:
    names, total = [], 0
    for entry in entries:
        if entry.tag == c.DT_NEEDED:
            names.append(text(entry.value))
            total += len(names[-1])
            # Names may overlap, so the size of their table does not bound them.
            if total > MAX_NEEDED:
                raise DamagedElfError(f"its needed names take more than {MAX_NEEDED} bytes")
    return tuple(names)


def _interpreter(reader: Reader, image: Image) -> str | None:
    segment = next((s for s in image.segments if s.type == c.PT_INTERP), None)
    if segment is None:
        return None
    size = min(segment.filesz, MAX_STRING + 1)
    data = read_exactly(reader, segment.offset, size)
    if data is None or size > MAX_STRING:
        raise DamagedElfError("the name of its interpreter lies beyond the file, or has no end")
    return os.fsdecode(string_at(data, 0))


def string_table(image: Image) -> tuple[int, int] | None:
    """File offset and size of the dynamic string table, or None where there is none."""
    address, size = image.first(c.DT_STRTAB), image.first(c.DT_STRSZ)
    offset = None if address is None else image.file_offset(address)
    return None if offset is None or size is None else (offset, size)


def string_at(table: bytes, offset: int) -> bytes:
    """The string that starts at ``offset``: the bytes before the next NUL."""
    end = table.find(b"\0", offset)
    return table[offset:] if end < 0 else table[offset:end]


def text_at(reader: Reader, table: tuple[int, int], at: int) -> bytes:
    """The string at offset ``at`` of a string table, of which offset and size are given.

    Raises:
        DamagedElfError: it lies outside the table, or has no end.
    """
    start, size = table
    if at >= size:
        raise DamagedElfError(f"a dynamic string at {at} lies outside its table of {size} bytes")
    limit = min(size - at, MAX_STRING)
    data = reader.pread(start + at, min(limit, 256))
    if b"\0" not in data and limit > 256:
        data = reader.pread(start + at, limit)
    if b"\0" not in data:
        raise DamagedElfError("a dynamic string has no end")
    return string_at(data, 0)
