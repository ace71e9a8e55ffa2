"""The dynamic symbols of a file: what it wants of others, and what it gives them.

A library of a database has a hundred thousand of them: the table is unpacked in one go, and names
are cut out of the string table only for symbols that somebody asks about.
Source: the gABI, "Symbol Table"; the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from bundle_fix.content import Reader, read_exactly
from bundle_fix.elf import constants as c
from bundle_fix.elf.hashes import symbol_count
from bundle_fix.elf.image import DamagedElfError, Image, string_at, string_table
from bundle_fix.elf.versions import wanted_by_index

LAYOUTS = {64: ("IBBHQQ", 1, 3), 32: ("IIIBBH", 3, 5)}
"""An Elf_Sym by class: its fields, and which of them are st_info and st_shndx."""
MAX_STRINGS = 256 << 20
"""Bytes of a string table that are read; Chromium's has 2 MiB."""
STB_LOCAL, STB_WEAK = 0, 2
HIDDEN = 0x8000
"""The bit of a version's index that says that it is not the default version."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A symbol that a file uses and does not define.

    ``version`` and ``library`` (a soname) are None where it takes any definition.
    """

    name: str
    version: str | None
    library: str | None
    weak: bool


def wanted_symbols(reader: Reader, image: Image) -> tuple[Wanted, ...]:
    """The undefined symbols, in the table's order.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    versions = wanted_by_index(reader, image)
    found = []
    for name, info, index, defined in _symbols(reader, image):
        if not defined and name and info >> 4 != STB_LOCAL:
            library, version = versions.get(index & ~HIDDEN, (None, None))
            found.append(Wanted(os.fsdecode(name), version, library, info >> 4 == STB_WEAK))
    return tuple(found)


def defined_symbols(reader: Reader, image: Image) -> frozenset[str]:
    """The names that the file defines for others, whatever their versions.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    return frozenset(
        os.fsdecode(name)
        for name, info, _, defined in _symbols(reader, image)
        if defined and info >> 4 != STB_LOCAL
    )


def _symbols(reader: Reader, image: Image) -> Iterator[tuple[bytes, int, int, bool]]:
    """Name, st_info, version index (1 where there is none) and whether it is defined, of each."""
    address, table = image.first(c.DT_SYMTAB), string_table(image)
    start = None if address is None else image.file_offset(address)
    if start is None or table is None:
        return
    fields, info_at, section_at = LAYOUTS[image.format.bits]
    layout = Struct(("<" if image.format.order == "little" else ">") + fields)
    count = symbol_count(reader, image)
    raw = read_exactly(reader, start, count * layout.size)
    if raw is None:
        raise DamagedElfError("its dynamic symbol table is cut short")
    if table[1] > MAX_STRINGS:
        raise DamagedElfError("its string table is too large to look into")
    strings = reader.pread(*table)
    indices = _version_indices(reader, image, count)
    for number, symbol in enumerate(layout.iter_unpack(raw)):
        defined = symbol[section_at] != c.SHN_UNDEF
        index = indices[number] if indices else 1
        yield string_at(strings, symbol[0]), symbol[info_at], index, defined


def _version_indices(reader: Reader, image: Image, count: int) -> tuple[int, ...]:
    address = image.first(c.DT_VERSYM)
    start = None if address is None else image.file_offset(address)
    raw = None if start is None else read_exactly(reader, start, 2 * count)
    if raw is None:
        return ()
    mark = "<" if image.format.order == "little" else ">"
    return Struct(f"{mark}{count}H").unpack(raw)
