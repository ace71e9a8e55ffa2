"""Symbol versions: those that a file needs of others (verneed), and its own (verdef).

Source: the Linux Standard Base, "Symbol Versioning"; glibc's dl-version.c walks the same lists.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError

MAX_RECORDS = 1 << 15
"""Limit of the records of one list, with auxiliary ones: a version index has 15 bits."""
MAX_NAMES = 1 << 20
"""Limit of all names of one list, in bytes."""
DEFINITION_FLAGS, DEFINITION_INDEX = 1, 2
"""The positions of vd_flags and vd_ndx among the facts of an Elf_Verdef."""
NEED_FACTS = 2
"""The number of facts of an Elf_Verneed before those of its versions: vn_version, vn_cnt. Each
version has three: vna_hash, vna_flags, vna_other."""
VER_FLG_WEAK = 2
"""The flag of a needed version that may be missing."""
VER_FLG_BASE = 1
"""The flag of the version whose name is the file's own."""


class VersionList(Struct, frozen=True):
    """One list of version records (verneed or verdef).

    Attributes:
        size: the bytes from the list's start to the end of its last record.
        groups: for each record, the string offsets in the file's order: for verneed the library's
            name and the needed versions; for verdef the version's name and its parents.
        places: the file offset of each record.
        facts: all other numbers of each record and its auxiliary records: hashes, flags, indices.
    """

    size: int
    groups: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    facts: tuple[tuple[int, ...], ...]


class _RecordLayout(Struct, frozen=True):
    """The layout of a record and its auxiliary records.

    Attributes:
        tag: the dynamic tag with the list's address.
        number_tag: the dynamic tag with the number of records.
        record: a record's fields, as a format of `struct`; the last two are the distances to its
            first auxiliary record and to the next record.
        count: the position of the number of auxiliary records.
        own_string: the position of the record's string offset, if it has one.
        auxiliary: an auxiliary record's fields; the last is the distance to the next one.
        auxiliary_string: the position of the auxiliary record's string offset.
    """

    tag: int
    number_tag: int
    record: str
    count: int
    own_string: int | None
    auxiliary: str
    auxiliary_string: int


_NEED = _RecordLayout(
    c.DT_VERNEED, c.DT_VERNEEDNUM, "HHIII", count=1, own_string=2, auxiliary="IHHII",
    auxiliary_string=3,
)  # fmt: skip
_DEFINITION = _RecordLayout(
    c.DT_VERDEF, c.DT_VERDEFNUM, "HHHHIII", count=3, own_string=None, auxiliary="II",
    auxiliary_string=0,
)  # fmt: skip


def read_needed_versions(reader: Reader, image: Image) -> dict[str, tuple[str, ...]]:
    """Return the versions needed of each library: soname to version names, in the file's order.

    Raises:
        DamagedElfError: the list is invalid.
    """
    versions: dict[str, tuple[str, ...]] = {}
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return versions
    left = MAX_NAMES
    for group in lists.groups:
        names = []
        for at in group:
            names.append(_read_name(reader, table, at))
            left -= len(names[-1])
            if left < 0:
                raise DamagedElfError(
                    f"the names of its symbol versions exceed the limit of {MAX_NAMES} bytes"
                )
        versions[names[0]] = versions.get(names[0], ()) + tuple(names[1:])
    return versions


def read_needed_by_index(reader: Reader, image: Image) -> dict[int, tuple[str, str]]:
    """Return library and version of each version index of the file (vna_other).

    Raises:
        DamagedElfError: the list is invalid.
    """
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return {}
    found: dict[int, tuple[str, str]] = {}
    for group, facts in zip(lists.groups, lists.facts, strict=True):
        library = _read_name(reader, table, group[0])
        for at, index in zip(group[1:], facts[NEED_FACTS + 2 :: 3], strict=True):
            found[index] = (library, _read_name(reader, table, at))
    return found


def read_weak_versions(reader: Reader, image: Image) -> frozenset[tuple[str, str]]:
    """Return the pairs of library and version that may be missing (VER_FLG_WEAK)."""
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return frozenset()
    return frozenset(
        (_read_name(reader, table, group[0]), _read_name(reader, table, at))
        for group, facts in zip(lists.groups, lists.facts, strict=True)
        for at, flags in zip(group[1:], facts[NEED_FACTS + 1 :: 3], strict=True)
        if flags & VER_FLG_WEAK
    )


def read_defined_versions(reader: Reader, image: Image) -> frozenset[str] | None:
    """Return the names of the versions that the file defines, or None if it has no list of them.

    Raises:
        DamagedElfError: the list is invalid.
    """
    lists, table = read_verdef(reader, image), find_string_table(image)
    if lists is None or table is None:
        return None
    return frozenset(_read_name(reader, table, group[0]) for group in lists.groups if group)


def read_defined_by_index(reader: Reader, image: Image) -> dict[int, str]:
    """Return the name of each version that the file defines, by version index.

    The base version, named after the file, is left out: symbols with it have no version.

    Raises:
        DamagedElfError: the list is invalid.
    """
    lists, table = read_verdef(reader, image), find_string_table(image)
    if lists is None or table is None:
        return {}
    return {
        facts[DEFINITION_INDEX]: _read_name(reader, table, group[0])
        for group, facts in zip(lists.groups, lists.facts, strict=True)
        if group and not facts[DEFINITION_FLAGS] & VER_FLG_BASE
    }


def read_symbol_version(reader: Reader, image: Image, index: int) -> str | None:
    """Return the version with which the file defines the dynamic symbol at ``index``, or None.

    Raises:
        DamagedElfError: the version list cannot be read.
    """
    address = image.find_value(c.DT_VERSYM)
    start = None if address is None else image.find_offset(address)
    raw = None if start is None else read_exactly(reader, start + 2 * index, 2)
    if raw is None:
        return None
    # The highest bit marks a version other than the default (VERSYM_HIDDEN).
    number = int.from_bytes(raw, image.format.order) & 0x7FFF
    return read_defined_by_index(reader, image).get(number)


def read_verneed(reader: Reader, image: Image) -> VersionList | None:
    """Read the DT_VERNEED list; return None if there is none."""
    return _read_list(reader, image, _NEED)


def read_verdef(reader: Reader, image: Image) -> VersionList | None:
    """Read the DT_VERDEF list; return None if there is none."""
    return _read_list(reader, image, _DEFINITION)


def _read_list(reader: Reader, image: Image, shape: _RecordLayout) -> VersionList | None:
    address = image.find_value(shape.tag)
    if address is None:
        return None
    start = image.find_offset(address)
    number = image.find_value(shape.number_tag) or 0
    if start is None:
        raise DamagedElfError("no loaded segment contains its list of symbol versions")
    if number > MAX_RECORDS:
        raise DamagedElfError(
            f"its list of symbol versions has {number} records; the limit is {MAX_RECORDS}"
        )
    mark = image.format.mark
    record, auxiliary = struct.Struct(mark + shape.record), struct.Struct(mark + shape.auxiliary)
    groups, places, facts = [], [], []
    numbers = -2 if shape.own_string is None else shape.own_string
    size, left, at = 0, MAX_RECORDS, 0
    for _ in range(number):
        fields = _read_fields(reader, record, start + at)
        strings = [] if shape.own_string is None else [fields[shape.own_string]]
        known = list(fields[:numbers])
        size = max(size, at + record.size)
        count = min(fields[shape.count], left)
        for place, aux in _follow_chain(reader, auxiliary, start, at + fields[-2], count):
            strings.append(aux[shape.auxiliary_string])
            known.extend(aux[: shape.auxiliary_string])
            size = max(size, place + auxiliary.size)
            left -= 1
        # Records may share auxiliary records, so the size of the file does not bound the walk.
        if not left:
            raise DamagedElfError(f"its list of symbol versions exceeds {MAX_RECORDS} records")
        groups.append(tuple(strings))
        places.append(start + at)
        facts.append(tuple(known))
        if fields[-1] == 0:
            break
        at += fields[-1]
    return VersionList(size, tuple(groups), tuple(places), tuple(facts))


def _follow_chain(
    reader: Reader, auxiliary: struct.Struct, start: int, at: int, count: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for _ in range(count):
        fields = _read_fields(reader, auxiliary, start + at)
        yield at, fields
        if fields[-1] == 0:
            return
        at += fields[-1]


def _read_fields(reader: Reader, layout: struct.Struct, offset: int) -> tuple[int, ...]:
    data = read_exactly(reader, offset, layout.size)
    if data is None:
        raise DamagedElfError("its list of symbol versions is truncated")
    fields: tuple[int, ...] = layout.unpack(data)
    return fields


def _read_name(reader: Reader, table: tuple[int, int], at: int) -> str:
    return os.fsdecode(read_string(reader, table, at))
