"""Dynamic symbols as the loader sees them: without their numbers and the offsets of their names.

Sources: the gABI, "Symbol Table"; the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.elf.verify.tables import DynamicTables, walk_records
from bundle_fix.model.errors import DamagedElfError

MAX_SYMBOLS = 1 << 19
"""Limit of the dynamic symbols that are compared one by one."""
MAX_NAMES = 64 << 20
"""Limit of the dynamic string table, in bytes."""
SHN_LORESERVE = 0xFF00
"""The first section number with a special meaning, such as SHN_ABS."""
VERSION_BITS, VER_NDX_GLOBAL = 0x7FFF, 1
"""The bits of a version index; the highest bit hides a symbol from lookups without a version."""


class DynamicSymbol(NamedTuple):
    """A dynamic symbol.

    Attributes:
        name: its name.
        version: the raw version index, and the library and name of its version, if it has one.
        section: 0 if it is undefined, 1 if it lies in any section, or a reserved section number.
        other: st_info and st_other.
        value: its address.
        size: its size in bytes.
    """

    name: bytes
    version: tuple[int, bytes, bytes]
    section: int
    other: tuple[int, int]
    value: int
    size: int


Symbols = Sequence[DynamicSymbol]
Versions = Mapping[int, tuple[bytes, bytes]]
"""The library and the name of a version, by version index; the library is empty for own ones."""


def read_symbols(elf: ElfStructure, tables: DynamicTables, changes: Changes) -> Symbols:
    """Return the dynamic symbols in the file's order, as they are after ``changes``.

    Raises:
        DamagedElfError: a table is damaged, or has more than `MAX_SYMBOLS` symbols.
    """
    span = tables.spans.get(c.DT_SYMTAB, Span(0, 0))
    layout = struct.Struct(elf.mark + ("IBBHQQ" if elf.bits == 64 else "IIIBBH"))
    count = (span.end - span.start) // layout.size
    if count > MAX_SYMBOLS:
        raise DamagedElfError(f"it has {count} dynamic symbols; the limit is {MAX_SYMBOLS}")
    names = _read_strings(elf)
    indices = _read_indices(elf, tables, count)
    versions = dict(_read_versions(elf, dict(changes.replace_needed)))
    renamed = {os.fsencode(old): os.fsencode(new) for old, new in changes.rename_symbols}
    cleared = {os.fsencode(name) for name in changes.clear_versions}
    found = []
    data = elf.reader.pread(span.start, count * layout.size)
    for fields, index in zip(layout.iter_unpack(data), indices, strict=True):
        if elf.bits == 64:
            at, info, other, section, value, size = fields
        else:
            at, value, size, info, other, section = fields
        name = names[at : names.find(b"\0", at)]
        index = VER_NDX_GLOBAL if name in cleared else index  # noqa: PLW2901
        version = versions.get(index & VERSION_BITS)
        found.append(
            DynamicSymbol(
                renamed.get(name, name),
                (index & ~VERSION_BITS, *version) if version else (index, b"", b""),
                section if section >= SHN_LORESERVE else min(section, 1),
                (info, other), value, size,
            )
        )  # fmt: skip
    return found


def _read_strings(elf: ElfStructure) -> bytes:
    span = elf.string_table or Span(0, 0)
    if span.end - span.start > MAX_NAMES:
        raise DamagedElfError(
            f"its dynamic string table has {span.end - span.start} bytes; the limit is {MAX_NAMES}"
        )
    return elf.reader.pread(span.start, span.end - span.start)


def _read_indices(elf: ElfStructure, tables: DynamicTables, count: int) -> Sequence[int]:
    """Return the version index of each symbol; 1 stands for a symbol without a version."""
    span = tables.spans.get(c.DT_VERSYM)
    if span is None:
        return [VER_NDX_GLOBAL] * count
    data = elf.reader.pread(span.start, count * 2)
    if len(data) < count * 2:
        raise DamagedElfError("its table of version indices is truncated")
    return struct.unpack(f"{elf.mark}{count}H", data)


def _read_versions(
    elf: ElfStructure, renamed: Mapping[str, str]
) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """Yield the index, library and name of each version that the file needs or defines."""
    start = elf.find_value(c.DT_VERNEED)
    count = elf.find_value(c.DT_VERNEEDNUM) or 0
    for at, (_, parts, library, first, _) in _walk(elf, "HHIII", start, count):
        (text,) = elf.read_dynamic_strings([library])
        text = os.fsencode(renamed.get(os.fsdecode(text), os.fsdecode(text)))
        for _, (_, _, index, name, _) in walk_records(elf, "IHHII", at + first, parts):
            yield index & VERSION_BITS, (text, elf.read_dynamic_strings([name])[0])
    start = elf.find_value(c.DT_VERDEF)
    count = elf.find_value(c.DT_VERDEFNUM) or 0
    for at, (_, _, index, parts, _, first, _) in _walk(elf, "HHHHIII", start, count):
        for _, (name, _) in walk_records(elf, "II", at + first, min(parts, 1)):
            yield index & VERSION_BITS, (b"", elf.read_dynamic_strings([name])[0])


def _walk(
    elf: ElfStructure, layout: str, address: int | None, count: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    start = None if address is None else elf.find_offset(address)
    return iter(()) if start is None else walk_records(elf, layout, start, count)
