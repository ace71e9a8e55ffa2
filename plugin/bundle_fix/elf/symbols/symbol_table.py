"""The dynamic symbols of a file: the undefined ones, and those that it defines for others.

A large library has a hundred thousand of them, so the table is read by columns, the string table is
split at its NULs once, and only undefined symbols are looked at one by one. Names stay bytes until
they are printed.
Source: the gABI, "Symbol Table"; the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, compress
from typing import NamedTuple, cast

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.hashes import count_symbols
from bundle_fix.elf.symbols.versions import read_defined_by_index, read_needed_by_index
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError

FIELD_OFFSETS = {64: (4, 6), 32: (12, 14)}
"""The offsets in an Elf_Sym of st_info and st_shndx, by class; st_name comes first in both."""
MAX_STRINGS = 256 << 20
"""Limit of a string table, in bytes; Chromium's has 2 MiB."""
MAX_STRING_SHARE = 256
"""Bytes of the string table per symbol up to which the whole table is split at once."""
MAX_SINGLE_NAMES = 64 << 20
"""Limit of all names that are read one by one, in bytes: names may overlap in their table."""
STB_LOCAL, STB_WEAK, STB_GNU_UNIQUE = 0, 2, 10
IS_ZERO = bytes([1] + [0] * 255)
"""Translates a byte to 1 if it is zero, else to 0."""
IS_GLOBAL = bytes(int(info >> 4 != STB_LOCAL) for info in range(256))
"""Translates an st_info to 1 if other objects see the symbol, else to 0."""
HIDDEN = 0x8000
"""The bit of a version index that marks a version other than the default (VERSYM_HIDDEN)."""


class UndefinedSymbol(NamedTuple):
    """A symbol that a file uses and does not define.

    ``version`` and ``library`` (a soname) are None if any definition will do.
    """

    name: bytes
    version: str | None
    library: str | None
    weak: bool


class SymbolTable(Struct, frozen=True):
    """The symbols that a file uses of other objects and defines for them.

    Attributes:
        undefined: the undefined symbols, in the table's order.
        defined: the names that it defines, whatever their versions.
        versions: the versions of each defined name that has any; None if the file defines no
            versions.
        version_only: the names that only references with a version find.
    """

    undefined: tuple[UndefinedSymbol, ...] = ()
    defined: frozenset[bytes] = frozenset()
    versions: Mapping[bytes, Sequence[str]] | None = None
    version_only: frozenset[bytes] = frozenset()

    def provides_symbol(self, name: bytes, version: str | None) -> bool:
        """Return whether a reference to ``name`` in ``version`` (None: in any) finds it here."""
        if name not in self.defined or (version is None and name in self.version_only):
            return False
        # A definition without a version satisfies every reference (dl-lookup.c, check_match).
        known = None if self.versions is None else self.versions.get(name)
        return version is None or known is None or version in known


def read_symbols(reader: Reader, image: Image) -> SymbolTable:
    """Read the dynamic symbols of a file; the result is empty if it has no symbol table.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = read_columns(reader, image)
    if columns is None:
        return SymbolTable()
    offsets, infos, undefined, indices, read_names = columns
    own_versions = read_defined_by_index(reader, image)
    exported = intersect_flags(undefined.translate(IS_ZERO), infos.translate(IS_GLOBAL))
    names = read_names(list(compress(offsets, exported)))
    rows = list(zip(names, compress(indices, exported), strict=True)) if own_versions else []
    versions: dict[bytes, list[str]] = {}
    for name, index in rows:
        # 0 and 1 are no versions: a local symbol, and a global one without a version.
        if index > 1 and (version := own_versions.get(index & ~HIDDEN)) is not None:
            versions.setdefault(name, []).append(version)
    return SymbolTable(
        tuple(_list_undefined(columns, read_needed_by_index(reader, image))),
        frozenset(names) - {b""},
        versions if own_versions else None,
        _find_version_only(rows),
    )


def _list_undefined(
    columns: Columns, needed: Mapping[int, tuple[str, str]]
) -> Iterator[UndefinedSymbol]:
    """Yield the undefined symbols; ``needed`` has library and version by version index."""
    offsets, infos, undefined, indices, read_names = columns
    numbers = list(compress(range(len(offsets)), undefined))
    for number, name in zip(numbers, read_names([offsets[n] for n in numbers]), strict=True):
        if name and infos[number] >> 4 != STB_LOCAL:
            library, version = needed.get(indices[number] & ~HIDDEN, (None, None))
            yield UndefinedSymbol(name, version, library, infos[number] >> 4 == STB_WEAK)


def _find_version_only(rows: Sequence[tuple[bytes, int]]) -> frozenset[bytes]:
    """Return the names whose definitions are all hidden from references without a version.

    A reference without a version comes from an object that was linked before there were versions,
    and gets the oldest one (glibc's dl-lookup.c, check_match: index 1, the file's own, or 2, the
    first).
    """
    names = {name for name, index in rows if index >= HIDDEN | 3}
    names -= {name for name, index in rows if index < HIDDEN | 3} if names else set()
    return frozenset(names)


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
    return read_name_offsets_at(reader, image, start, count * image.format.symbol_size)


def read_name_offsets_at(reader: Reader, image: Image, offset: int, size: int) -> array[int]:
    """Return st_name of every symbol in the ``size`` bytes at a file offset.

    Raises:
        DamagedElfError: the file ends before that.
    """
    data = read_exactly(reader, offset, size // image.format.symbol_size * image.format.symbol_size)
    if data is None:
        raise DamagedElfError("a table of its symbols is truncated")
    words = array("I", data)
    if image.format.order != sys.byteorder:
        words.byteswap()
    return words[:: image.format.symbol_size // words.itemsize]


class Columns(NamedTuple):
    """The dynamic symbol table by columns.

    Attributes:
        name_offsets: st_name of each symbol.
        infos: st_info of each symbol.
        undefined: for each symbol, 1 if it is undefined, else 0.
        indices: the version index of each symbol.
        read_names: a function from values of st_name to names.
    """

    name_offsets: Sequence[int]
    infos: bytes
    undefined: bytes
    indices: Sequence[int]
    read_names: Callable[[Sequence[int]], list[bytes]]


def read_columns(reader: Reader, image: Image) -> Columns | None:
    """Read the dynamic symbol table by columns; None if the file has none.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    address, table = image.find_value(c.DT_SYMTAB), find_string_table(image)
    start = None if address is None else image.find_offset(address)
    if start is None or table is None:
        return None
    size = image.format.symbol_size
    count = count_symbols(reader, image)
    raw = read_exactly(reader, start, count * size)
    if raw is None:
        raise DamagedElfError("its dynamic symbol table is truncated")
    if table[1] > MAX_STRINGS:
        raise DamagedElfError(
            f"its dynamic string table has {table[1]} bytes; the limit is {MAX_STRINGS}"
        )
    offsets = array("I", raw)[:: size // 4]
    if image.format.order != sys.byteorder:
        offsets.byteswap()
    info_at, section_at = FIELD_OFFSETS[image.format.bits]
    # Both bytes of SHN_UNDEF are zeros.
    low, high = raw[section_at::size], raw[section_at + 1 :: size]
    undefined = intersect_flags(low.translate(IS_ZERO), high.translate(IS_ZERO))
    indices = _read_version_indices(reader, image, count)
    read_names = _build_name_reader(reader.pread(*table), count)
    return Columns(offsets, raw[info_at::size], undefined, indices, read_names)


def intersect_flags(one: bytes, other: bytes) -> bytes:
    """Return, for each pair of bytes that are 0 or 1, 1 if both are 1, else 0."""
    # As one large integer: a loop over bytes takes a hundred times as long.
    both = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _build_name_reader(strings: bytes, count: int) -> Callable[[Sequence[int]], list[bytes]]:
    """Return a function from offsets to strings; ``count`` is the number of symbols."""
    # Linkers store a string that another one ends in only once: such an offset is not in `known`.
    known: dict[int, bytes] = {}
    if len(strings) <= MAX_STRING_SHARE * count:
        pieces = strings.split(b"\0")
        starts = accumulate((len(piece) + 1 for piece in pieces), initial=0)
        known = dict(zip(starts, pieces, strict=False))
    left = MAX_SINGLE_NAMES

    def read_names(offsets: Sequence[int]) -> list[bytes]:
        nonlocal left
        names = list(map(known.get, offsets))
        for number, name in enumerate(names) if None in names else ():
            if name is None:
                names[number] = found = get_string(strings, offsets[number])
                left -= len(found)
                if left < 0:
                    raise DamagedElfError(
                        "the names of its dynamic symbols exceed the limit of"
                        f" {MAX_SINGLE_NAMES} bytes"
                    )
        return cast(list[bytes], names)

    return read_names


def _read_version_indices(reader: Reader, image: Image, count: int) -> tuple[int, ...]:
    """Return the version index of each symbol; 1 (VER_NDX_GLOBAL) if there are no versions."""
    address = image.find_value(c.DT_VERSYM)
    start = None if address is None else image.find_offset(address)
    raw = None if start is None else read_exactly(reader, start, 2 * count)
    if raw is None:
        return (1,) * count
    mark = "<" if image.format.order == "little" else ">"
    return struct.Struct(f"{mark}{count}H").unpack(raw)
