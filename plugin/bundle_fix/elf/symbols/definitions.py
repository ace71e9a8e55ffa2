"""The symbols that a file defines for others, with their bindings.

Source: the gABI, "Symbol Table"; the binding STB_GNU_UNIQUE is an extension of GNU.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.hashes import find_first_hashed_symbol
from bundle_fix.elf.symbols.symbol_table import (
    HIDDEN,
    IS_GLOBAL,
    IS_ZERO,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    Columns,
    intersect_flags,
    read_columns,
)
from bundle_fix.elf.symbols.versions import read_defined_by_index
from bundle_fix.model.content import Reader

SHARED_BINDINGS = frozenset({STB_WEAK, STB_GNU_UNIQUE})
"""The bindings of definitions that many objects may contain, such as C++ templates."""
IS_STRONG = bytes(int(info >> 4 not in (STB_LOCAL, *SHARED_BINDINGS)) for info in range(256))
"""Translates an st_info to 1 if only one object should define the symbol, else to 0."""
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


class Exports(Struct, frozen=True):
    """The symbols that a file defines for other objects.

    Attributes:
        names: their names.
        versions: the versions of each defined name that has any; None if the file defines no
            versions.
        version_only: the names that only references with a version find.
        strong: the names of the definitions that only one object should contain.
    """

    names: frozenset[bytes] = frozenset()
    versions: Mapping[bytes, Sequence[str]] | None = None
    version_only: frozenset[bytes] = frozenset()
    strong: frozenset[bytes] = frozenset()

    def provides_symbol(self, name: bytes, version: str | None) -> bool:
        """Return whether a reference to ``name`` in ``version`` (None: in any) finds it here."""
        if name not in self.names or (version is None and name in self.version_only):
            return False
        # A definition without a version satisfies every reference (dl-lookup.c, check_match).
        known = None if self.versions is None else self.versions.get(name)
        return version is None or known is None or version in known


def read_exports(reader: Reader, image: Image) -> Exports:
    """Read the symbols that a file defines for others; the result is empty if it has no table.

    Raises:
        DamagedElfError: the tables cannot be read.
    """
    columns = read_columns(reader, image, find_first_hashed_symbol(reader, image))
    if columns is None:
        return Exports()
    exported = _find_exported(columns)
    names = columns.read_names(list(compress(columns.name_offsets, exported)))
    labels = read_defined_by_index(reader, image)
    indices = list(compress(columns.indices, exported)) if labels else []
    is_strong = compress(columns.infos.translate(IS_STRONG), exported)
    return Exports(
        frozenset(names) - {b""},
        _group_versions(names, indices, labels) if labels else None,
        _find_version_only(names, indices),
        frozenset(compress(names, is_strong)) - {b""},
    )


def _find_exported(columns: Columns) -> bytes:
    """Return for each symbol 1 if the file defines it for others, else 0."""
    return intersect_flags(columns.undefined.translate(IS_ZERO), columns.infos.translate(IS_GLOBAL))


def _group_versions(
    names: Sequence[bytes], indices: Sequence[int], labels: Mapping[int, str]
) -> dict[bytes, Sequence[str]]:
    """Return the versions of each name; ``indices`` has the version index of each one.

    0 and 1 are no versions: a local symbol, and a global one without a version.
    """
    known = {index: label for index, label in labels.items() if index > 1}
    single = {index | flag: (label,) for index, label in known.items() for flag in (0, HIDDEN)}
    versioned = list(map(single.__contains__, indices))
    names, indices = list(compress(names, versioned)), list(compress(indices, versioned))
    # Nearly all names have one version, and all names of one version share a tuple.
    found: dict[bytes, Sequence[str]] = dict(
        zip(names, map(single.__getitem__, indices), strict=False)
    )
    if len(found) < len(names):
        several: dict[bytes, list[str]] = {}
        for name, index in zip(names, indices, strict=True):
            several.setdefault(name, []).extend(single[index])
        found.update(several)
    return found


def _find_version_only(names: Sequence[bytes], indices: Sequence[int]) -> frozenset[bytes]:
    """Return the names whose definitions are all hidden from references without a version.

    A reference without a version comes from an object that was linked before there were versions,
    and gets the oldest one (glibc's dl-lookup.c, check_match: index 1, the file's own, or 2, the
    first).
    """
    if max(indices, default=0) < HIDDEN | 3:
        return frozenset()
    rows = list(zip(names, indices, strict=True))
    hidden = {name for name, index in rows if index >= HIDDEN | 3}
    return frozenset(hidden - {name for name, index in rows if index < HIDDEN | 3})


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
