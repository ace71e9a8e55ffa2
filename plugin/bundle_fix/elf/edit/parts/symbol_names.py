"""New names of dynamic symbols, with everything that depends on a symbol's name.

A GNU hash table requires that symbols are sorted by the buckets of their names (glibc's
dl-lookup.c). So symbols move, and with them their versions and their numbers in relocations.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import NewName
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.parts.hash_tables import build_gnu_hash, build_sysv_hash, sort_by_bucket
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.relocations import TABLES, has_addends
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import Patch

OTHER_INDICES = frozenset({0x6000000F, 0x60000011, 0x6FFFFEF8, 0x6FFFFEFF})
"""Tags of other tables with symbol numbers: DT_ANDROID_REL, DT_ANDROID_RELA, DT_GNU_CONFLICT,
DT_SYMINFO."""
EM_MIPS = 8


class _Rename(NamedTuple):
    """A new name and its offset in the string table."""

    name: bytes
    offset: int


def plan_symbol_names(reader: Reader, image: Image, changes: Changes) -> tuple[NewName, ...]:
    """Return the new names of those symbols that the file has."""
    if not changes.rename_symbols:
        return ()
    present = set(_read_symbol_names(reader, image))
    return tuple(
        NewName(old, new)
        for old, new in changes.rename_symbols
        if os.fsencode(old) in present and old != new
    )


def compute_name_patches(
    reader: Reader, image: Image, planned: Sequence[object], offsets: Mapping[str, int]
) -> Iterator[Patch]:
    """Yield the patches that give symbols their new names; tables keep their places and sizes.

    Args:
        reader: the file.
        image: what was read from it.
        planned: the plan of the edit.
        offsets: the offset in the string table of each new string.

    Raises:
        CannotEditError: symbols would move, but a table of an unknown kind has their numbers.
        DamagedElfError: a table cannot be read.
    """
    renames = {
        os.fsencode(item.old): _Rename(os.fsencode(item.text), offsets[item.text])
        for item in planned
        if isinstance(item, NewName)
    }
    if not renames:
        return
    old_names = _read_symbol_names(reader, image)
    names = [renames[name].name if name in renames else name for name in old_names]
    order = sort_by_bucket(reader, image, names)
    yield from _compute_table_patches(reader, image, old_names, renames, order)
    sorted_names = [names[index] for index in order]
    yield from build_gnu_hash(reader, image, sorted_names)
    yield from build_sysv_hash(reader, image, sorted_names)
    if order != list(range(len(order))):
        yield from _compute_relocation_patches(reader, image, order)


def _read_symbol_names(reader: Reader, image: Image) -> list[bytes]:
    """Return the name of every dynamic symbol."""
    table = find_string_table(image)
    strings = b"" if table is None else reader.pread(*table)
    return [get_string(strings, at) for at in read_name_offsets(reader, image)]


def _compute_table_patches(
    reader: Reader,
    image: Image,
    names: Sequence[bytes],
    renames: Mapping[bytes, _Rename],
    order: Sequence[int],
) -> Iterator[Patch]:
    """Yield the patches of the symbol table and of the version indices."""
    size = image.format.symbol_size
    start, symbols = _read_table(reader, image, c.DT_SYMTAB, size * len(names))
    records = [symbols[at : at + size] for at in range(0, len(symbols), size)]
    for number, name in enumerate(names):
        if name in renames:
            offset = renames[name].offset.to_bytes(4, image.format.order)
            records[number] = offset + records[number][4:]
    yield Patch(start, b"".join(records[index] for index in order))
    if image.find_value(c.DT_VERSYM) is not None:
        start, versions = _read_table(reader, image, c.DT_VERSYM, 2 * len(names))
        yield Patch(start, b"".join(versions[2 * index : 2 * index + 2] for index in order))


def _compute_relocation_patches(
    reader: Reader, image: Image, order: Sequence[int]
) -> Iterator[Patch]:
    """Yield the patches that renumber the symbols of all relocations."""
    tags = {entry.tag for entry in image.dynamic or ()}
    if tags & OTHER_INDICES or image.header.machine == EM_MIPS:
        raise CannotEditError("its symbols would move, and an unknown table has their numbers")
    numbers = {old: new for new, old in enumerate(order)}
    done_up_to: list[tuple[int, int]] = []
    for tag, size_tag in TABLES:
        size = image.find_value(size_tag)
        if image.find_value(tag) is None or not size:
            continue
        start, data = _read_table(reader, image, tag, size)
        # On some machines the table of DT_RELA contains that of DT_JMPREL.
        if any(first <= start and start + size <= end for first, end in done_up_to):
            continue
        done_up_to.append((start, start + size))
        yield Patch(start, _renumber(image, data, numbers, has_addend=has_addends(image, tag)))


def _renumber(image: Image, data: bytes, numbers: Mapping[int, int], *, has_addend: bool) -> bytes:
    """Return relocations with other symbol numbers: the upper bits of r_info, the second word."""
    is_wide = image.format.bits == 64
    shift = 32 if is_wide else 8
    mark = image.format.mark
    layout = struct.Struct(mark + ("Q" if is_wide else "I") * (3 if has_addend else 2))
    whole = len(data) // layout.size * layout.size
    records = []
    for offset, info, *addend in layout.iter_unpack(data[:whole]):
        symbol = info >> shift
        new = numbers.get(symbol, symbol) << shift | info & (1 << shift) - 1
        records.append(layout.pack(offset, new, *addend))
    return b"".join([*records, data[whole:]])


def _read_table(reader: Reader, image: Image, tag: int, size: int) -> tuple[int, bytes]:
    """Return file offset and bytes of the table of a dynamic tag."""
    start = image.find_offset(image.find_value(tag) or 0)
    data = None if start is None else read_exactly(reader, start, size)
    if start is None or data is None:
        raise DamagedElfError(f"the table of dynamic tag {tag:#x} lies beyond the file")
    return start, data
