"""The verifier's own reader of ELF files: headers, dynamic entries and their strings.

It shares no code with the reader that the editors use, so that an error in one of the two does not
hide itself from the other.
Source: the System V gABI, chapters 4 ("Object Files") and 5 ("Program Loading").
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.headers import (
    DYNAMIC_ENTRY,
    ELF_HEADER,
    PROGRAM_HEADER,
    SECTION_HEADER,
    FileHeader,
    ProgramHeader,
    SectionHeader,
    read_dynamic_entries,
    read_program_headers,
    read_records,
    read_section_headers,
)
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import DamagedElfError

EI_NIDENT, EI_CLASS, EI_DATA = 16, 4, 5
CLASSES = {1: 32, 2: 64}
"""The bits of an address, by e_ident[EI_CLASS]."""
ENCODINGS: Mapping[int, Literal["little", "big"]] = {1: "little", 2: "big"}
"""The byte order, by e_ident[EI_DATA]."""
MARKS = {"little": "<", "big": ">"}
"""The first character of a format of `struct`, by byte order."""

MAX_STRING = 1 << 16
"""Limit of one string, in bytes."""
SHORT_STRING = 256
"""Bytes that are read first of a string; most are shorter."""
MAX_STRINGS = 1 << 20
"""Limit of all strings of one list, in bytes: strings may overlap in their table."""
MAX_SECTION_NAMES = 1 << 24
"""Limit of the table of section names, and of all names together, in bytes."""


class ElfStructure(Struct, frozen=True, dict=True):
    """The parts of one ELF file that the verifier compares; sections are read when needed.

    Attributes:
        reader: the file.
        ident: e_ident.
        bits: 32 or 64, the class of the file.
        order: its byte order.
        header: the rest of its ELF header.
        segments: its program headers.
        dynamic: tag and value of the dynamic entries before DT_NULL; empty without any.
    """

    reader: Reader
    ident: bytes
    bits: int
    order: Literal["little", "big"]
    header: FileHeader
    segments: tuple[ProgramHeader, ...]
    dynamic: tuple[tuple[int, int], ...]

    @property
    def mark(self) -> str:
        """The byte order as the first character of a format of `struct`."""
        return MARKS[self.order]

    @property
    def program_table(self) -> Span:
        """The bytes of the program headers."""
        header = self.header
        return Span(header.phoff, header.phoff + header.phnum * header.phentsize)

    @property
    def section_table(self) -> Span:
        """The bytes of the section headers."""
        count = len(self.section_headers) or self.header.shnum
        return Span(self.header.shoff, self.header.shoff + count * self.header.shentsize)

    @cached_property
    def loads(self) -> tuple[ProgramHeader, ...]:
        """The PT_LOAD segments, in the file's order."""
        return tuple(s for s in self.segments if s.type == c.PT_LOAD)

    @cached_property
    def _loads_by_address(self) -> list[ProgramHeader]:
        return sorted((s for s in self.loads if s.filesz), key=lambda s: s.vaddr)

    def find_load(self, address: int) -> ProgramHeader | None:
        """Return the segment that loads the byte at ``address`` from the file, or None."""
        # The gABI: PT_LOAD segments are in the order of their addresses and do not overlap.
        number = bisect_right(self._loads_by_address, address, key=lambda s: s.vaddr)
        found = self._loads_by_address[number - 1] if number else None
        return found if found is not None and address < found.vaddr + found.filesz else None

    def find_offset(self, address: int) -> int | None:
        """Return the file offset of the byte at ``address``, or None if no segment loads it."""
        segment = self.find_load(address)
        return None if segment is None else segment.offset + address - segment.vaddr

    def find_value(self, tag: int) -> int | None:
        """Return the value of the last dynamic entry with ``tag``, or None."""
        return next((value for key, value in reversed(self.dynamic) if key == tag), None)

    @cached_property
    def string_table(self) -> Span | None:
        """The bytes of the dynamic string table, or None if no loaded segment contains one."""
        address, size = self.find_value(c.DT_STRTAB), self.find_value(c.DT_STRSZ)
        start = None if address is None else self.find_offset(address)
        if start is None or size is None:
            return None
        if start + size > self.reader.size:
            raise DamagedElfError(
                f"its dynamic string table ({size} bytes at offset {start}) lies beyond the file's"
                f" {self.reader.size} bytes"
            )
        return Span(start, start + size)

    def read_dynamic_strings(self, offsets: Iterable[int]) -> list[bytes]:
        """Return the strings at some offsets of the dynamic string table.

        Raises:
            DamagedElfError: a string lies outside the table, does not end, or they are too long.
        """
        table = self.string_table or Span(0, 0)
        found, left = [], MAX_STRINGS
        for offset in offsets:
            limit = min(table.end - table.start - offset, MAX_STRING)
            if limit <= 0:
                raise DamagedElfError(f"a dynamic string at {offset} lies outside its table")
            for length in (min(limit, SHORT_STRING), limit):
                data = self.reader.pread(table.start + offset, length)
                end = data.find(b"\0")
                if end >= 0:
                    break
            if end < 0:
                raise DamagedElfError(
                    f"the dynamic string at {offset} does not end within {limit} bytes"
                )
            left -= end
            if left < 0:
                raise DamagedElfError(
                    f"its dynamic strings exceed the limit of {MAX_STRINGS} bytes"
                )
            found.append(data[:end])
        return found

    @cached_property
    def section_headers(self) -> tuple[SectionHeader, ...]:
        """All section headers with the null one; empty if there are none, or none can be read."""
        return read_section_headers(self.reader, self.header, self.mark + SECTION_HEADER[self.bits])

    @cached_property
    def sections(self) -> dict[str, SectionHeader]:
        """The sections but the null one by name, in the file's order.

        The second section of one name is called ``NAME#2``, and so on.
        """
        headers, number = self.section_headers, self.header.shstrndx
        if number == c.SHN_XINDEX and headers:
            number = headers[0].link  # The gABI: for numbers of 0xff00 and more.
        table = b""
        if c.SHN_UNDEF < number < len(headers):
            size = min(headers[number].size, MAX_SECTION_NAMES)
            table = self.reader.pread(headers[number].offset, size)
        found: dict[str, SectionHeader] = {}
        count: Counter[str] = Counter()
        left = MAX_SECTION_NAMES
        for section in headers[1:]:
            end = table.find(b"\0", section.name)
            name = os.fsdecode(table[section.name : end if end >= 0 else None])
            left -= len(name)
            if left < 0:
                raise DamagedElfError(
                    f"the names of its sections exceed the limit of {MAX_SECTION_NAMES} bytes"
                )
            count[name] += 1
            found[name if count[name] == 1 else f"{name}#{count[name]}"] = section
        return found


def read_structure(reader: Reader) -> ElfStructure:
    """Read the headers and the dynamic entries of an ELF file.

    Raises:
        DamagedElfError: the file is not ELF, a header is invalid, or the entries lie beyond the
            file.
    """
    ident = reader.pread(0, EI_NIDENT)
    if len(ident) < EI_NIDENT or not ident.startswith(b"\x7fELF"):
        raise DamagedElfError("the ELF header is truncated")
    bits, order = CLASSES.get(ident[EI_CLASS]), ENCODINGS.get(ident[EI_DATA])
    if bits is None or order is None:
        raise DamagedElfError(f"invalid ELF class {ident[EI_CLASS]} or byte order {ident[EI_DATA]}")
    mark = MARKS[order]
    (fields,) = read_records(reader, mark + ELF_HEADER[bits], EI_NIDENT, 1, "ELF header")
    header = FileHeader(*fields)
    segments = tuple(read_program_headers(reader, header, mark + PROGRAM_HEADER[bits]))
    dynamic = tuple(read_dynamic_entries(reader, segments, mark + DYNAMIC_ENTRY[bits]))
    return ElfStructure(reader, ident, bits, order, header, segments, dynamic)
