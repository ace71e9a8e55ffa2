"""Symbol versions: what a file wants of others (verneed) and what it offers itself (verdef).

Source: the Linux Standard Base, "Symbol Versioning"; glibc's dl-version.c walks the same lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from bundle_fix.content import Reader, read_exactly
from bundle_fix.elf import constants as c
from bundle_fix.elf.image import MAX_STRING, DamagedElfError, Image, string_at, string_table

MAX_RECORDS = 1 << 16


@dataclass(frozen=True, slots=True)
class VersionStrings:
    """One version list: how many bytes it takes, and the strings that it refers to.

    ``groups`` has, for each record, the string offsets in the order of the file: for verneed the
    library's name and then the wanted versions; for verdef the version's name and its parents.
    """

    size: int
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where a version record and its auxiliary records keep what a walk needs."""

    tag: int
    number_tag: int
    record: str
    count: int
    own_string: int | None
    auxiliary: str
    auxiliary_string: int


_NEED = _Shape(
    c.DT_VERNEED, c.DT_VERNEEDNUM, "HHIII", count=1, own_string=2, auxiliary="IHHII",
    auxiliary_string=3,
)  # fmt: skip
_DEFINITION = _Shape(
    c.DT_VERDEF, c.DT_VERDEFNUM, "HHHHIII", count=3, own_string=None, auxiliary="II",
    auxiliary_string=0,
)  # fmt: skip


def needed_versions(reader: Reader, image: Image) -> dict[str, tuple[str, ...]]:
    """The versions wanted of each library: soname to version names, in the file's order.

    Raises:
        DamagedElfError: the list lies.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    lists, table = version_needs(reader, image), string_table(image)
    if lists is None or table is None:
        return wanted
    for first, *rest in lists.groups:
        name = _text(reader, table, first)
        wanted[name] = wanted.get(name, ()) + tuple(_text(reader, table, at) for at in rest)
    return wanted


def version_needs(reader: Reader, image: Image) -> VersionStrings | None:
    """The DT_VERNEED list, or None where there is none."""
    return _walk(reader, image, _NEED)


def version_definitions(reader: Reader, image: Image) -> VersionStrings | None:
    """The DT_VERDEF list, or None where there is none."""
    return _walk(reader, image, _DEFINITION)


def _walk(reader: Reader, image: Image, shape: _Shape) -> VersionStrings | None:
    address = image.first(shape.tag)
    if address is None:
        return None
    start = image.file_offset(address)
    number = image.first(shape.number_tag) or 0
    if start is None or number > MAX_RECORDS:
        raise DamagedElfError("its list of symbol versions lies outside its loaded segments")
    mark = "<" if image.format.order == "little" else ">"
    record, auxiliary = Struct(mark + shape.record), Struct(mark + shape.auxiliary)
    size, groups, at = 0, [], 0
    for _ in range(number):
        fields = _fields(reader, record, start + at)
        size = max(size, at + record.size)
        strings = [] if shape.own_string is None else [fields[shape.own_string]]
        for place, aux in _chain(
            reader, auxiliary, start, at + fields[-2], min(fields[shape.count], MAX_RECORDS)
        ):
            size = max(size, place + auxiliary.size)
            strings.append(aux[shape.auxiliary_string])
        groups.append(tuple(strings))
        if fields[-1] == 0:
            break
        at += fields[-1]
    return VersionStrings(size, tuple(groups))


def _chain(
    reader: Reader, auxiliary: Struct, start: int, at: int, count: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for _ in range(count):
        fields = _fields(reader, auxiliary, start + at)
        yield at, fields
        if fields[-1] == 0:
            return
        at += fields[-1]


def _fields(reader: Reader, layout: Struct, offset: int) -> tuple[int, ...]:
    data = read_exactly(reader, offset, layout.size)
    if data is None:
        raise DamagedElfError("its list of symbol versions is cut short")
    fields: tuple[int, ...] = layout.unpack(data)
    return fields


def _text(reader: Reader, table: tuple[int, int], at: int) -> str:
    if at >= table[1]:
        raise DamagedElfError("the name of a symbol version lies outside the string table")
    return os.fsdecode(string_at(reader.pread(table[0] + at, min(table[1] - at, MAX_STRING)), 0))
