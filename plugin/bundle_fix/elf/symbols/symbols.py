"""The dynamic symbols of a file: what it wants of others, and what it gives them.

A library of a database has a hundred thousand of them, so the table is taken apart by columns, the
string table is cut at its NULs once, and only what is wanted is looked at one by one; names stay
bytes until somebody prints them.
Source: the gABI, "Symbol Table"; the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, compress
from typing import NamedTuple, cast

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.hashes import count_symbols
from bundle_fix.elf.symbols.versions import read_defined_by_index, read_needed_by_index
from bundle_fix.model.content import Reader, read_exactly

PLACES = {64: (4, 6), 32: (12, 14)}
"""Where in an Elf_Sym st_info and st_shndx are, by class; st_name comes first in both."""
MAX_STRINGS = 256 << 20
"""Bytes of a string table that are read; Chromium's has 2 MiB."""
LIKELY = 256
"""Bytes of the string table for each symbol up to which all of it is cut at once."""
MAX_CUT = 64 << 20
"""Bytes of names that are cut one by one: they may overlap, so their table does not bound them."""
STB_LOCAL, STB_WEAK, STB_GNU_UNIQUE = 0, 2, 10
SPARE = frozenset({STB_WEAK, STB_GNU_UNIQUE})
"""The bindings of definitions of which many objects may have one."""
IS_ZERO = bytes([1] + [0] * 255)
IS_GLOBAL = bytes(int(info >> 4 != STB_LOCAL) for info in range(256))
"""For an st_info, whether others see the symbol."""
HIDDEN = 0x8000
"""The bit of a version's index that says that it is not the default version."""


class UndefinedSymbol(NamedTuple):
    """A symbol that a file uses and does not define.

    ``version`` and ``library`` (a soname) are None where it takes any definition.
    """

    name: bytes
    version: str | None
    library: str | None
    weak: bool


class DefinedSymbol(NamedTuple):
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


class SymbolTable(Struct, frozen=True):
    """What a file wants of others and defines for others.

    Attributes:
        undefined: the undefined symbols, in the table's order.
        defined: the names that it defines, whatever their versions.
        versions: the versions in which it defines each name that has any; None where the file has
            no versions at all.
        version_only: the names that only those find who ask for a version.
    """

    undefined: tuple[UndefinedSymbol, ...] = ()
    defined: frozenset[bytes] = frozenset()
    versions: Mapping[bytes, Sequence[str]] | None = None
    version_only: frozenset[bytes] = frozenset()

    def provides_symbol(self, name: bytes, version: str | None) -> bool:
        """Whether a file that wants ``name`` in ``version`` (None: in any) finds it here."""
        if name not in self.defined or (version is None and name in self.version_only):
            return False
        # What has no version serves everybody who wants one (glibc's dl-lookup.c, check_match).
        known = None if self.versions is None else self.versions.get(name)
        return version is None or known is None or version in known


def read_symbols(reader: Reader, image: Image) -> SymbolTable:
    """The dynamic symbols of a file; none where it has no table of them.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = _read_columns(reader, image)
    if columns is None:
        return SymbolTable()
    at, infos, undefined, indices, names_at = columns
    theirs, own = read_needed_by_index(reader, image), read_defined_by_index(reader, image)
    here = list(compress(range(len(at)), undefined))
    wanted = []
    for index, name in zip(here, names_at([at[index] for index in here]), strict=True):
        if name and infos[index] >> 4 != STB_LOCAL:
            library, version = theirs.get(indices[index] & ~HIDDEN, (None, None))
            wanted.append(UndefinedSymbol(name, version, library, infos[index] >> 4 == STB_WEAK))
    offered = _and_flags(undefined.translate(IS_ZERO), infos.translate(IS_GLOBAL))
    names = names_at(list(compress(at, offered)))
    versions: dict[bytes, list[str]] = {}
    rows = list(zip(names, compress(indices, offered), strict=True)) if own else []
    for name, index in rows:
        if index > 1 and (version := own.get(index & ~HIDDEN)) is not None:
            versions.setdefault(name, []).append(version)
    defined = frozenset(names) - {b""}
    return SymbolTable(tuple(wanted), defined, versions if own else None, _find_version_only(rows))


def _find_version_only(rows: Sequence[tuple[bytes, int]]) -> frozenset[bytes]:
    """The names all of whose definitions are hidden from those who ask for no version.

    Who does was linked before there were versions, and gets the oldest (glibc's dl-lookup.c,
    check_match: index 1, the file's own, or 2, the first).
    """
    names = {name for name, index in rows if index >= HIDDEN | 3}
    names -= {name for name, index in rows if index < HIDDEN | 3} if names else set()
    return frozenset(names)


def read_defined_symbols(reader: Reader, image: Image) -> tuple[DefinedSymbol, ...]:
    """The symbols that a file defines for others, in the table's order, one for each version.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = _read_columns(reader, image)
    if columns is None:
        return ()
    at, infos, undefined, indices, names_at = columns
    own = read_defined_by_index(reader, image)
    offered = _and_flags(undefined.translate(IS_ZERO), infos.translate(IS_GLOBAL))
    names = names_at(list(compress(at, offered)))
    rows = zip(names, compress(indices, offered), compress(infos, offered), strict=True)
    return tuple(
        DefinedSymbol(name, own.get(index & ~HIDDEN), bool(index & HIDDEN), info >> 4 in SPARE)
        for name, index, info in rows
        # Index 0 is that of symbols that are nobody else's.
        if name and index & ~HIDDEN
    )


def read_name_offsets(reader: Reader, image: Image) -> array[int]:
    """Return st_name of every dynamic symbol: offsets into the string table, in bytes.

    Raises:
        DamagedElfError: the table cannot be read, or its length is unknown.
    """
    address = image.find_value(c.DT_SYMTAB)
    start = None if address is None else image.find_offset(address)
    if start is None:
        return array("I")
    count = count_symbols(reader, image)
    if count == 0:
        raise DamagedElfError("the number of its dynamic symbols is unknown")
    size = image.format.symbol_size
    data = read_exactly(reader, start, count * size)
    if data is None:
        raise DamagedElfError("its dynamic symbol table is cut short")
    words = array("I", data)
    if image.format.order != sys.byteorder:
        words.byteswap()
    return words[:: size // words.itemsize]


class _Columns(NamedTuple):
    """The symbols' st_name, st_info, whether each is undefined, its version's index; their names.

    ``read_names`` makes names of values of st_name.
    """

    name_offsets: Sequence[int]
    infos: bytes
    undefined: bytes
    indices: Sequence[int]
    read_names: Callable[[Sequence[int]], list[bytes]]


def _read_columns(reader: Reader, image: Image) -> _Columns | None:
    address, table = image.find_value(c.DT_SYMTAB), find_string_table(image)
    start = None if address is None else image.find_offset(address)
    if start is None or table is None:
        return None
    size = image.format.symbol_size
    count = count_symbols(reader, image)
    raw = read_exactly(reader, start, count * size)
    if raw is None:
        raise DamagedElfError("its dynamic symbol table is cut short")
    if table[1] > MAX_STRINGS:
        raise DamagedElfError("its string table is too large to look into")
    at = array("I", raw)[:: size // 4]
    if image.format.order != sys.byteorder:
        at.byteswap()
    info_at, section_at = PLACES[image.format.bits]
    # Both bytes of SHN_UNDEF are zeros.
    low, high = raw[section_at::size], raw[section_at + 1 :: size]
    undefined = _and_flags(low.translate(IS_ZERO), high.translate(IS_ZERO))
    names = _make_name_reader(reader.pread(*table), count)
    return _Columns(
        at, raw[info_at::size], undefined, _read_version_indices(reader, image, count), names
    )


def _and_flags(one: bytes, other: bytes) -> bytes:
    """Of each pair of bytes, all of them 0 or 1, whether both are 1."""
    both = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _make_name_reader(strings: bytes, count: int) -> Callable[[Sequence[int]], list[bytes]]:
    """What gives the strings at some offsets; linkers may let one string end in another."""
    known: dict[int, bytes] = {}
    if len(strings) <= LIKELY * count:
        pieces = strings.split(b"\0")
        starts = accumulate((len(piece) + 1 for piece in pieces), initial=0)
        known = dict(zip(starts, pieces, strict=False))
    left = MAX_CUT

    def names_at(offsets: Sequence[int]) -> list[bytes]:
        nonlocal left
        names = list(map(known.get, offsets))
        for number, name in enumerate(names) if None in names else ():
            if name is None:
                names[number] = found = get_string(strings, offsets[number])
                left -= len(found)
                if left < 0:
                    raise DamagedElfError("the names of its dynamic symbols take too many bytes")
        return cast(list[bytes], names)

    return names_at


def _read_version_indices(reader: Reader, image: Image, count: int) -> tuple[int, ...]:
    """The version's index of each symbol, 1 where there are no versions."""
    address = image.find_value(c.DT_VERSYM)
    start = None if address is None else image.find_offset(address)
    raw = None if start is None else read_exactly(reader, start, 2 * count)
    if raw is None:
        return (1,) * count
    mark = "<" if image.format.order == "little" else ">"
    return struct.Struct(f"{mark}{count}H").unpack(raw)
