"""The dynamic symbols of a file: what it wants of others, and what it gives them.

A library of a database has a hundred thousand of them, so the table is unpacked in one go, and the
string table is cut at its NULs once; names stay bytes until somebody prints them.
Source: the gABI, "Symbol Table"; the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import NamedTuple

from bundle_fix.content import Reader, read_exactly
from bundle_fix.elf import constants as c
from bundle_fix.elf.hashes import symbol_count
from bundle_fix.elf.image import DamagedElfError, Image, string_at, string_table
from bundle_fix.elf.versions import defined_by_index, wanted_by_index

LAYOUTS = {64: "IBxH16x", 32: "I8xBxH"}
"""An Elf_Sym by class: of its fields only st_name, st_info and st_shndx."""
MAX_STRINGS = 256 << 20
"""Bytes of a string table that are read; Chromium's has 2 MiB."""
CUT_ABOVE = 1000
"""Symbols above which the whole string table is cut at once, rather than name by name."""
MAX_CUT = 64 << 20
"""Bytes of names that are cut one by one: they may overlap, so their table does not bound them."""
STB_LOCAL, STB_WEAK, STB_GNU_UNIQUE = 0, 2, 10
HIDDEN = 0x8000
"""The bit of a version's index that says that it is not the default version."""


class Wanted(NamedTuple):
    """A symbol that a file uses and does not define.

    ``version`` and ``library`` (a soname) are None where it takes any definition.
    """

    name: bytes
    version: str | None
    library: str | None
    weak: bool


class Offered(NamedTuple):
    """A symbol that a file defines for others.

    ``version`` is None where it has none; ``hidden`` tells that only those find it who ask for its
    version, ``weak`` that it is a spare definition, such as those of C++ that stand in every object
    that uses them.
    """

    name: bytes
    version: str | None
    hidden: bool
    weak: bool

    @property
    def label(self) -> str:
        """The symbol with its version, as linkers write it."""
        name = os.fsdecode(self.name)
        return (
            name if self.version is None else f"{name}{'@' if self.hidden else '@@'}{self.version}"
        )


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """What a file wants of others and defines for others.

    Attributes:
        wanted: the undefined symbols, in the table's order.
        defined: the names that it defines, whatever their versions.
        versions: the versions in which it defines each name that has any; None where the file has
            no versions at all.
    """

    wanted: tuple[Wanted, ...] = ()
    defined: frozenset[bytes] = frozenset()
    versions: Mapping[bytes, Sequence[str]] | None = None

    def defines(self, name: bytes, version: str | None) -> bool:
        """Whether a file that wants ``name`` in ``version`` (None: in any) finds it here."""
        if name not in self.defined:
            return False
        # What has no version serves everybody who wants one (glibc's dl-lookup.c, check_match).
        known = None if self.versions is None else self.versions.get(name)
        return version is None or known is None or version in known


def read_symbols(reader: Reader, image: Image) -> SymbolTable:
    """The dynamic symbols of a file; none where it has no table of them.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    rows = _rows(reader, image)
    if rows is None:
        return SymbolTable()
    entries, name_at = rows
    theirs, own = wanted_by_index(reader, image), defined_by_index(reader, image)
    wanted, defined = [], []
    versions: dict[bytes, list[str]] = {}
    for (at, info, section), index in entries:
        if info >> 4 == STB_LOCAL or not (name := name_at(at)):
            continue
        if section == c.SHN_UNDEF:
            library, version = theirs.get(index & ~HIDDEN, (None, None))
            wanted.append(Wanted(name, version, library, info >> 4 == STB_WEAK))
        else:
            defined.append(name)
            if own and index > 1 and (version := own.get(index & ~HIDDEN)) is not None:
                versions.setdefault(name, []).append(version)
    return SymbolTable(tuple(wanted), frozenset(defined), versions if own else None)


def offered_symbols(reader: Reader, image: Image) -> tuple[Offered, ...]:
    """The symbols that a file defines for others, in the table's order, one for each version.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    rows = _rows(reader, image)
    if rows is None:
        return ()
    entries, name_at = rows
    own = defined_by_index(reader, image)
    found = []
    for (at, info, section), index in entries:
        number, binding = index & ~HIDDEN, info >> 4
        # Index 0 is that of symbols that are nobody else's.
        if section == c.SHN_UNDEF or binding == STB_LOCAL or number == 0:
            continue
        if name := name_at(at):
            weak = binding in (STB_WEAK, STB_GNU_UNIQUE)
            found.append(Offered(name, own.get(number), bool(index & HIDDEN), weak))
    return tuple(found)


def _rows(
    reader: Reader, image: Image
) -> tuple[Iterable[tuple[tuple[int, int, int], int]], Callable[[int], bytes]] | None:
    """st_name, st_info and st_shndx of each symbol with its version's index, and what names it."""
    address, table = image.first(c.DT_SYMTAB), string_table(image)
    start = None if address is None else image.file_offset(address)
    if start is None or table is None:
        return None
    layout = Struct(("<" if image.format.order == "little" else ">") + LAYOUTS[image.format.bits])
    count = symbol_count(reader, image)
    raw = read_exactly(reader, start, count * layout.size)
    if raw is None:
        raise DamagedElfError("its dynamic symbol table is cut short")
    if table[1] > MAX_STRINGS:
        raise DamagedElfError("its string table is too large to look into")
    name_at = _names(reader.pread(*table), count)
    indices = _version_indices(reader, image, count)
    return zip(layout.iter_unpack(raw), indices, strict=True), name_at


def _names(strings: bytes, count: int) -> Callable[[int], bytes]:
    """What gives the string at an offset; linkers may let one string end in another."""
    known: dict[int, bytes] = {}
    if count > CUT_ABOVE:
        pieces = strings.split(b"\0")
        starts = accumulate((len(piece) + 1 for piece in pieces), initial=0)
        known = dict(zip(starts, pieces, strict=False))
    left = MAX_CUT

    def name_at(at: int) -> bytes:
        nonlocal left
        name = known.get(at)
        if name is None:
            name = string_at(strings, at)
            left -= len(name)
            if left < 0:
                raise DamagedElfError("the names of its dynamic symbols take too many bytes")
        return name

    return name_at


def _version_indices(reader: Reader, image: Image, count: int) -> tuple[int, ...]:
    """The version's index of each symbol, 1 where there are no versions."""
    address = image.first(c.DT_VERSYM)
    start = None if address is None else image.file_offset(address)
    raw = None if start is None else read_exactly(reader, start, 2 * count)
    if raw is None:
        return (1,) * count
    mark = "<" if image.format.order == "little" else ">"
    return Struct(f"{mark}{count}H").unpack(raw)
