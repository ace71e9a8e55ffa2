"""The structures of an ELF file as the verifier decodes them: headers and dynamic entries.

Nothing in a file is trusted: numbers have limits, and tables end in the file.
Source: the System V gABI, chapters 4 ("Object Files") and 5 ("Program Loading").
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError

Layouts = Mapping[int, str]
"""The fields of a structure as a format of `struct`, by class (32 or 64 bits)."""
ELF_HEADER: Layouts = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
PROGRAM_HEADER: Layouts = {32: "8I", 64: "2I6Q"}
SECTION_HEADER: Layouts = {32: "10I", 64: "2I4Q2I2Q"}
DYNAMIC_ENTRY: Layouts = {32: "2I", 64: "2Q"}

MAX_PROGRAM_HEADERS = 1 << 12
"""Limit of program headers; Linux starts no program with more than 1,170 of them."""
MAX_SECTION_HEADERS = 1 << 16
"""Limit of section headers; a file with more is treated as one without section headers."""
MAX_DYNAMIC_SECTION = 1 << 20
"""Limit of the dynamic section, in bytes."""


class FileHeader(NamedTuple):
    """The fields of an Elf_Ehdr after e_ident."""

    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class ProgramHeader(NamedTuple):
    """The fields of an Elf64_Phdr; an Elf32_Phdr has the same in another order."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def span(self) -> Span:
        """The bytes of the file in the segment."""
        return Span(self.offset, self.offset + self.filesz)


class SectionHeader(NamedTuple):
    """The fields of an Elf_Shdr."""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int

    @property
    def span(self) -> Span:
        """The bytes of the file in the section; none for SHT_NOBITS."""
        size = 0 if self.type == c.SHT_NOBITS else self.size
        return Span(self.offset, self.offset + size)


def read_records(
    reader: Reader, layout: str, offset: int, count: int, name: str
) -> Iterator[tuple[int, ...]]:
    """Return the fields of ``count`` structures that follow each other from ``offset`` on.

    Args:
        reader: the file.
        layout: one structure as a format of `struct`.
        offset: the file offset of the first one.
        count: their number.
        name: what they are, for the error.

    Raises:
        DamagedElfError: they lie beyond the file.
    """
    size = count * struct.calcsize(layout)
    data = read_exactly(reader, offset, size)
    if data is None:
        raise DamagedElfError(
            f"its {name} ({size} bytes at offset {offset}) lies beyond the file's {reader.size}"
            " bytes"
        )
    return struct.iter_unpack(layout, data)


def read_section_headers(
    reader: Reader, header: FileHeader, layout: str
) -> tuple[SectionHeader, ...]:
    """Return all section headers with the null one; empty if there are none, or none can be read.

    Args:
        reader: the file.
        header: its ELF header.
        layout: a section header as a format of `struct`.
    """
    if not header.shoff or header.shentsize != struct.calcsize(layout):
        return ()
    try:
        (null,) = read_records(reader, layout, header.shoff, 1, "section header")
        # The gABI: if there are 0xff00 sections or more, e_shnum is 0.
        count = header.shnum or SectionHeader(*null).size
        if count > MAX_SECTION_HEADERS:
            return ()
        records = read_records(reader, layout, header.shoff, count, "table of section headers")
    except DamagedElfError:
        return ()
    return tuple(SectionHeader(*fields) for fields in records)


def read_program_headers(
    reader: Reader, header: FileHeader, layout: str
) -> Iterator[ProgramHeader]:
    """Yield the program headers.

    Args:
        reader: the file.
        header: its ELF header.
        layout: a program header as a format of `struct`.

    Raises:
        DamagedElfError: they are too many, have another size, or lie beyond the file.
    """
    count = header.phnum if header.phoff else 0
    if count > MAX_PROGRAM_HEADERS:
        raise DamagedElfError(f"it has {count} program headers; the limit is {MAX_PROGRAM_HEADERS}")
    if not count:
        return
    if header.phentsize != struct.calcsize(layout):
        raise DamagedElfError(f"invalid size of a program header: {header.phentsize} bytes")
    for fields in read_records(reader, layout, header.phoff, count, "table of program headers"):
        if layout.endswith(PROGRAM_HEADER[64]):
            yield ProgramHeader(*fields)
        else:
            # Elf32_Phdr has p_flags after p_memsz.
            kind, offset, vaddr, paddr, filesz, memsz, flags, align = fields
            yield ProgramHeader(kind, flags, offset, vaddr, paddr, filesz, memsz, align)


def read_dynamic_entries(
    reader: Reader, segments: Iterable[ProgramHeader], layout: str
) -> Iterator[tuple[int, int]]:
    """Yield tag and value of the dynamic entries before DT_NULL.

    Args:
        reader: the file.
        segments: its program headers.
        layout: a dynamic entry as a format of `struct`.

    Raises:
        DamagedElfError: the dynamic section lies beyond the file.
    """
    segment = next((s for s in segments if s.type == c.PT_DYNAMIC), None)
    if segment is None or not segment.filesz:
        return
    count = min(segment.filesz, MAX_DYNAMIC_SECTION) // struct.calcsize(layout)
    for tag, value in read_records(reader, layout, segment.offset, count, "dynamic section"):
        if tag == c.DT_NULL:
            return
        yield tag, value
