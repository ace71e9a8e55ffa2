"""Symbol versions: what a file wants of others (verneed) and what it offers itself (verdef).

Source: the Linux Standard Base, "Symbol Versioning"; glibc's dl-version.c walks the same lists.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.model.content import Patch, Reader, read_exactly

MAX_RECORDS = 1 << 15
"""Records of one list, auxiliary ones counted: a version's index has 15 bits."""
MAX_NAMES = 1 << 20
"""Bytes of all names of one list."""
DEFINITION_FLAGS, DEFINITION_INDEX = 1, 2
"""Which facts of an Elf_Verdef are its flags and its index (vd_flags, vd_ndx)."""
NEED_FACTS = 2
"""How many facts of an Elf_Verneed stand before those of its versions: vn_version, vn_cnt. Each
version has three: vna_hash, vna_flags, vna_other."""
VER_FLG_WEAK = 2
"""The flag of a wanted version that may be missing."""
VER_FLG_BASE = 1
"""The flag of the version that names the file itself."""
NEED_FILE_AT = 4
"""Where in an Elf_Verneed the library's name is (vn_file)."""


class VersionList(Struct, frozen=True):
    """One version list: how many bytes it takes, and the strings that it refers to.

    ``groups`` has, for each record, the string offsets in the order of the file: for verneed the
    library's name and then the wanted versions; for verdef the version's name and its parents.
    ``places`` are the records' file offsets, and ``facts`` all their other numbers: hashes, flags
    and indices.
    """

    size: int
    groups: tuple[tuple[int, ...], ...]
    places: tuple[int, ...]
    facts: tuple[tuple[int, ...], ...]


class _RecordLayout(Struct, frozen=True):
    """Where a version record and its auxiliary records keep what a walk needs."""

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
    """The versions wanted of each library: soname to version names, in the file's order.

    Raises:
        DamagedElfError: the list lies.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return wanted
    left = MAX_NAMES
    for group in lists.groups:
        names = []
        for at in group:
            names.append(_read_name(reader, table, at))
            left -= len(names[-1])
            if left < 0:
                raise DamagedElfError("the names of its symbol versions take too many bytes")
        wanted[names[0]] = wanted.get(names[0], ()) + tuple(names[1:])
    return wanted


def read_needed_by_index(reader: Reader, image: Image) -> dict[int, tuple[str, str]]:
    """Library and version that each version index of the file stands for (vna_other).

    Raises:
        DamagedElfError: the list lies.
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
    """The libraries and versions that the loader does not insist on (VER_FLG_WEAK)."""
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
    """The names of the versions that the file defines; None where it has none at all.

    Raises:
        DamagedElfError: the list lies.
    """
    lists, table = read_verdef(reader, image), find_string_table(image)
    if lists is None or table is None:
        return None
    return frozenset(_read_name(reader, table, group[0]) for group in lists.groups if group)


def read_defined_by_index(reader: Reader, image: Image) -> dict[int, str]:
    """The version that each version index of the file stands for, of those that it defines.

    The one that names the file itself is left out: symbols that have it have none.

    Raises:
        DamagedElfError: the list lies.
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
    """The version of the dynamic symbol at ``index``, if the file defines it with one.

    Raises:
        DamagedElfError: the tables that tell it cannot be read.
    """
    address = image.find_value(c.DT_VERSYM)
    start = None if address is None else image.find_offset(address)
    raw = None if start is None else read_exactly(reader, start + 2 * index, 2)
    if raw is None:
        return None
    # The highest bit hides a version that is not the default one.
    number = int.from_bytes(raw, image.format.order) & 0x7FFF
    return read_defined_by_index(reader, image).get(number)


def rename_libraries(reader: Reader, image: Image, names: Mapping[str, int]) -> tuple[Patch, ...]:
    """The patches that make the wanted versions of some libraries those of others.

    The loader looks a library up by the name that stands beside its versions (glibc's dl-version.c,
    find_needed), and stops the program where nothing of that name was loaded.

    Args:
        reader: the file.
        image: what was read from it.
        names: the sonames to replace, each with the offset of the new one in the string table.
    """
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return ()
    patches = []
    for place, group in zip(lists.places, lists.groups, strict=True):
        name = _read_name(reader, table, group[0])
        if name in names:
            data = names[name].to_bytes(4, image.format.order)
            patches.append(Patch(place + NEED_FILE_AT, data))
    return tuple(patches)


def read_verneed(reader: Reader, image: Image) -> VersionList | None:
    """The DT_VERNEED list, or None where there is none."""
    return _read_list(reader, image, _NEED)


def read_verdef(reader: Reader, image: Image) -> VersionList | None:
    """The DT_VERDEF list, or None where there is none."""
    return _read_list(reader, image, _DEFINITION)


def _read_list(reader: Reader, image: Image, shape: _RecordLayout) -> VersionList | None:
    address = image.find_value(shape.tag)
    if address is None:
        return None
    start = image.find_offset(address)
    number = image.find_value(shape.number_tag) or 0
    if start is None or number > MAX_RECORDS:
        raise DamagedElfError("its list of symbol versions lies outside its loaded segments")
    mark = "<" if image.format.order == "little" else ">"
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
        # Records may share what they chain to, so the size of the file does not bound the walk.
        if not left:
            raise DamagedElfError("its list of symbol versions has no end")
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
        raise DamagedElfError("its list of symbol versions is cut short")
    fields: tuple[int, ...] = layout.unpack(data)
    return fields


def _read_name(reader: Reader, table: tuple[int, int], at: int) -> str:
    return os.fsdecode(read_string(reader, table, at))
