"""What no edit may change about symbols: the dynamic ones, their versions, the static ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import MAX_STRING, find_string_table, read_string
from bundle_fix.elf.read.structs import Section
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import CHUNK, Reader

ORDINARY = bytes(b != 0 for b in range(256))
"""Translates a byte to whether it is set."""
BLOCK = 4096
"""Bytes of a string table that are compared at a time."""
RESERVED = bytes(255) + b"\xff"
"""Translates the upper byte of a section's index to whether the index is a reserved one."""


def compare_symbols(
    before: Reader, old: Image, after: Reader, new: Image, renamed: Mapping[str, str]
) -> Iterator[str]:
    """What an edit broke among the dynamic symbols.

    Args:
        before: the file as it was.
        old: what was read from it.
        after: the file as the editor left it.
        new: what was read from that.
        renamed: needed names that were replaced, each with the new one.
    """
    if _read_dynamic_symbols(before, old) != _read_dynamic_symbols(after, new):
        yield "the dynamic symbols changed"
    if _differ_in_names(before, old, after, new):
        yield "the names of dynamic symbols changed"
    if _read_tables(before, old, renamed) != _read_tables(after, new, {}):
        yield "the symbol versions or hash tables changed"


def _read_dynamic_symbols(reader: Reader, image: Image) -> bytes:
    """The symbol table without what an editor may renumber: name offsets and section indices."""
    address = image.find_value(c.DT_SYMTAB)
    start = None if address is None else image.find_offset(address)
    if start is None:
        return b""
    size = image.format.symbol_size
    count = len(read_name_offsets(reader, image))
    data = bytearray(reader.pread(start, size * count))
    for byte in range(4):
        data[byte::size] = bytes(count)
    return _drop_indices(data, image)


def _drop_indices(data: bytearray, image: Image) -> bytes:
    """Symbols whose section's index says only what the loader asks: undefined, or reserved."""
    size = image.format.symbol_size
    low = 6 if image.format.bits == 64 else 14
    high = low + 1
    if image.format.order == "big":
        low, high = high, low
    reserved = data[high::size].translate(RESERVED)
    used = map(max, data[low::size].translate(ORDINARY), data[high::size].translate(ORDINARY))
    data[low::size], data[high::size] = bytes(used), reserved
    return bytes(data)


def has_same_static_symbols(
    before: Reader, old: Image, s: Section, after: Reader, there: Section, start: int, end: int
) -> bool:
    """Whether two .symtab agree from ``start`` to ``end``, offsets in bytes.

    Section symbols follow their sections, and an editor may number the sections anew.
    """
    size = old.format.symbol_size
    step = CHUNK // size * size
    for at in range(start // size * size, min(end, s.size), step):
        length = min(step, s.size - at)
        if end - at < step:
            length = min(length, (end - at + size - 1) // size * size)
        one, other = before.pread(s.offset + at, length), after.pread(there.offset + at, length)
        if one != other and _normalize_static_symbols(one, old) != _normalize_static_symbols(
            other, old
        ):
            return False
    return True


def _normalize_static_symbols(raw: bytes, image: Image) -> bytes:
    size = image.format.symbol_size
    data = bytearray(raw[: len(raw) // size * size])
    info_at, value_at = (4, 8) if image.format.bits == 64 else (12, 4)
    width = image.format.word.size
    for number, info in enumerate(data[info_at::size]):
        if info & 0xF == c.STT_SECTION:
            value = number * size + value_at
            data[value : value + width] = bytes(width)
    return _drop_indices(data, image)


def _differ_in_names(before: Reader, old: Image, after: Reader, new: Image) -> bool:
    """Whether a dynamic symbol has another name; only names near changed bytes are looked at."""
    was, now = find_string_table(old), find_string_table(new)
    if was is None or now is None:
        return was != now
    names, others = read_name_offsets(before, old), read_name_offsets(after, new)
    pairs: Iterable[tuple[int, int]] = zip(names, others, strict=False)
    if names == others:
        first, last = _find_changed_blocks(before, was, after, now)
        pairs = ((at, at) for at in names if first - MAX_STRING < at < last)
    return any(read_string(before, was, a) != read_string(after, now, b) for a, b in pairs)


def _find_changed_blocks(
    before: Reader, was: tuple[int, int], after: Reader, now: tuple[int, int]
) -> tuple[int, int]:
    """Offsets in a string table between which all its changes are; equal where there are none."""
    size = min(was[1], now[1])
    changed = []
    for at in range(0, size, BLOCK):
        length = min(BLOCK, size - at)
        if before.pread(was[0] + at, length) != after.pread(now[0] + at, length):
            changed.append(at)
    if size < was[1]:
        return min(changed, default=size), was[1]
    return (changed[0], changed[-1] + BLOCK) if changed else (0, 0)


def _read_tables(reader: Reader, image: Image, renamed: Mapping[str, str]) -> dict[int, object]:
    """The hash and version tables, with names in the place of string offsets."""
    strings = find_string_table(image) or (0, 0)
    libraries = {os.fsencode(name): os.fsencode(new) for name, new in renamed.items()}
    found: dict[int, object] = {}
    for table in find_movable_tables(reader, image):
        if table.tag in (c.DT_VERNEED, c.DT_VERDEF):
            walk = read_verneed if table.tag == c.DT_VERNEED else read_verdef
            lists = walk(reader, image)
            if lists is not None:
                names = [
                    [read_string(reader, strings, at) for at in group] for group in lists.groups
                ]
                for group in names if table.tag == c.DT_VERNEED else ():
                    group[0] = libraries.get(group[0], group[0])
                found[table.tag] = names, lists.facts
        else:
            found[table.tag] = reader.pread(table.offset, table.size)
    return found
