"""The ELF structures of both classes and both byte orders, as formats of `struct`.

Source: the System V gABI, chapters 4 (object files) and 5 (program loading).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec import Struct


class Header(NamedTuple):
    """The file header (Elf_Ehdr) without e_ident."""

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


class Segment(NamedTuple):
    """A program header (Elf_Phdr), in the field order of the 64-bit class."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def file_end(self) -> int:
        """The file offset just past the segment."""
        return self.offset + self.filesz

    @property
    def memory_end(self) -> int:
        """The address just past the segment."""
        return self.vaddr + self.memsz


class Section(NamedTuple):
    """A section header (Elf_Shdr)."""

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


class Format(Struct, frozen=True):
    """The layouts of one class and byte order.

    Attributes:
        order: ``little`` or ``big``.
        mark: the byte order as the first character of a format of `struct`.
    """

    bits: int
    order: Literal["little", "big"]
    mark: str
    header: struct.Struct
    segment: struct.Struct
    section: struct.Struct
    dynamic: struct.Struct
    symbol_size: int
    word: struct.Struct

    def unpack_segment(self, data: bytes) -> Segment:
        """Decode one program header."""
        fields = self.segment.unpack(data)
        if self.bits == 64:
            return Segment(*fields)
        # Elf32_Phdr has p_flags near its end, Elf64_Phdr second.
        kind, offset, vaddr, paddr, filesz, memsz, flags, align = fields
        return Segment(kind, flags, offset, vaddr, paddr, filesz, memsz, align)

    def pack_segment(self, segment: Segment) -> bytes:
        """Encode one program header."""
        if self.bits == 64:
            return self.segment.pack(*segment)
        s = segment
        return self.segment.pack(
            s.type, s.offset, s.vaddr, s.paddr, s.filesz, s.memsz, s.flags, s.align
        )


@lru_cache(maxsize=4)
def get_elf_format(bits: int, order: Literal["little", "big"]) -> Format:
    """Return the layouts for ``bits`` (32 or 64) and ``order`` (``little`` or ``big``)."""
    mark = "<" if order == "little" else ">"
    if bits == 64:
        codes = ("HHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ", "QQ", 24, "Q")
    else:
        codes = ("HHIIIIIHHHHHH", "IIIIIIII", "IIIIIIIIII", "II", 16, "I")
    header, segment, section, dynamic, symbol, word = codes
    return Format(
        bits=bits,
        order=order,
        mark=mark,
        header=struct.Struct(mark + header),
        segment=struct.Struct(mark + segment),
        section=struct.Struct(mark + section),
        dynamic=struct.Struct(mark + dynamic),
        symbol_size=symbol,
        word=struct.Struct(mark + word),
    )
