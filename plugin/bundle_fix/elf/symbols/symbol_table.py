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
from collections.abc import Callable, Sequence
from itertools import accumulate, compress
from typing import NamedTuple, cast

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.hashes import count_symbols
from bundle_fix.elf.symbols.versions import read_needed_by_index
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError

FIELD_OFFSETS = {64: (4, 6), 32: (12, 14)}
"""The offsets in an Elf_Sym of st_info and st_shndx, by class; st_name comes first in both."""
MAX_STRINGS = 256 << 20
"""Limit of a string table, in bytes; Chromium's has 2 MiB."""
MAX_STRING_SHARE = 256
"""Bytes of the string table per name up to which the whole table is split at once."""
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


def read_undefined_symbols(reader: Reader, image: Image) -> tuple[UndefinedSymbol, ...]:
    """Read the symbols that a file uses of other objects, in the table's order.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = read_columns(reader, image)
    if columns is None:
        return ()
    offsets, infos, undefined, indices, read_names = columns
    needed = read_needed_by_index(reader, image)
    used = intersect_flags(undefined, infos.translate(IS_GLOBAL))
    names = read_names(list(compress(offsets, used)))
    rows = zip(names, compress(infos, used), compress(indices, used), strict=True)
    symbols = []
    for name, info, index in rows:
        library, version = needed.get(index & ~HIDDEN, (None, None))
        if name:
            symbols.append(UndefinedSymbol(name, version, library, info >> 4 == STB_WEAK))
    return tuple(symbols)


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


def read_columns(reader: Reader, image: Image, first: int = 0) -> Columns | None:
    """Read the dynamic symbol table by columns, from symbol ``first`` on; None if there is none.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    address, table = image.find_value(c.DT_SYMTAB), find_string_table(image)
    start = None if address is None else image.find_offset(address)
    if start is None or table is None:
        return None
    size = image.format.symbol_size
    count = max(count_symbols(reader, image) - first, 0)
    raw = read_exactly(reader, start + first * size, count * size)
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
    indices = _read_version_indices(reader, image, first, count)
    read_names = _build_name_reader(reader.pread(*table))
    return Columns(offsets, raw[info_at::size], undefined, indices, read_names)


def intersect_flags(one: bytes, other: bytes) -> bytes:
    """Return, for each pair of bytes that are 0 or 1, 1 if both are 1, else 0."""
    # As one large integer: a loop over bytes takes a hundred times as long.
    both = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _build_name_reader(strings: bytes) -> Callable[[Sequence[int]], list[bytes]]:
    """Return a function from offsets to strings."""
    left = MAX_SINGLE_NAMES

    def read_names(offsets: Sequence[int]) -> list[bytes]:
        nonlocal left
        # Linkers store a string that another one ends in only once: its offset is not in `known`.
        is_short = len(strings) <= MAX_STRING_SHARE * len(offsets)
        known = _split_strings(strings) if is_short else {}
        names = list(map(known.get, offsets))
        for number in [n for n, name in enumerate(names) if name is None]:
            names[number] = found = get_string(strings, offsets[number])
            left -= len(found)
            if left < 0:
                raise DamagedElfError(
                    f"the names of its dynamic symbols exceed the limit of {MAX_SINGLE_NAMES} bytes"
                )
        return cast(list[bytes], names)

    return read_names


def _split_strings(strings: bytes) -> dict[int, bytes]:
    """Return the strings of a string table by their offset."""
    pieces = strings.split(b"\0")
    # Without a loop in Python, as a table may have a hundred thousand strings.
    starts = accumulate(map((1).__add__, map(len, pieces)), initial=0)
    return dict(zip(starts, pieces, strict=False))


def _read_version_indices(reader: Reader, image: Image, first: int, count: int) -> tuple[int, ...]:
    """Return the version indices of ``count`` symbols; 1 (VER_NDX_GLOBAL) without versions."""
    address = image.find_value(c.DT_VERSYM)
    start = None if address is None else image.find_offset(address)
    raw = None if start is None else read_exactly(reader, start + 2 * first, 2 * count)
    if raw is None:
        return (1,) * count
    mark = image.format.mark
    return struct.Struct(f"{mark}{count}H").unpack(raw)
