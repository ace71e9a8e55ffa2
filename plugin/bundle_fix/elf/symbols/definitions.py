"""The symbols that a file defines for others, with their bindings.

Source: the gABI, "Symbol Table"; the binding STB_GNU_UNIQUE is an extension of GNU.
"""

from __future__ import annotations

import os
from itertools import compress
from typing import NamedTuple

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.symbol_table import (
    HIDDEN,
    IS_GLOBAL,
    IS_ZERO,
    STB_GNU_UNIQUE,
    STB_WEAK,
    intersect_flags,
    read_columns,
)
from bundle_fix.elf.symbols.versions import read_defined_by_index
from bundle_fix.model.content import Reader

SHARED_BINDINGS = frozenset({STB_WEAK, STB_GNU_UNIQUE})
"""The bindings of definitions that many objects may contain, such as C++ templates."""
IS_UNIQUE = bytes(int(info >> 4 == STB_GNU_UNIQUE) for info in range(256))
"""Translates an st_info to 1 if the symbol is unique in a process, else to 0."""


class DefinedSymbol(NamedTuple):
    """A symbol that a file defines for other objects.

    Attributes:
        name: its name.
        version: its version, or None.
        hidden: whether only references to its version find it, as it is not the default version.
        weak: whether other objects may define it as well, as every user of a C++ template does.
    """

    name: bytes
    version: str | None
    hidden: bool
    weak: bool

    @property
    def label(self) -> str:
        """The symbol with its version, as linkers write it: ``name@@DEFAULT`` or ``name@OTHER``."""
        name = os.fsdecode(self.name)
        separator = "@" if self.hidden else "@@"
        return name if self.version is None else f"{name}{separator}{self.version}"


def read_defined_symbols(reader: Reader, image: Image) -> tuple[DefinedSymbol, ...]:
    """Read the symbols that a file defines for others, in the table's order, one per version.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = read_columns(reader, image)
    if columns is None:
        return ()
    offsets, infos, undefined, indices, read_names = columns
    versions = read_defined_by_index(reader, image)
    exported = intersect_flags(undefined.translate(IS_ZERO), infos.translate(IS_GLOBAL))
    names = read_names(list(compress(offsets, exported)))
    rows = zip(names, compress(indices, exported), compress(infos, exported), strict=True)
    return tuple(
        DefinedSymbol(
            name, versions.get(index & ~HIDDEN), bool(index & HIDDEN), info >> 4 in SHARED_BINDINGS
        )
        for name, index, info in rows
        # Index 0 (VER_NDX_LOCAL) marks symbols that other objects do not see.
        if name and index & ~HIDDEN
    )


def read_strong_names(reader: Reader, image: Image) -> frozenset[bytes]:
    """Return the names of the definitions that only one object should contain.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    return frozenset(s.name for s in read_defined_symbols(reader, image) if not s.weak)


def read_unique_names(reader: Reader, image: Image) -> frozenset[bytes]:
    """Return the names of the definitions that are unique in a process (STB_GNU_UNIQUE).

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = read_columns(reader, image)
    if columns is None:
        return frozenset()
    unique = columns.infos.translate(IS_UNIQUE)
    exported = intersect_flags(columns.undefined.translate(IS_ZERO), unique)
    return frozenset(columns.read_names(list(compress(columns.name_offsets, exported))))
