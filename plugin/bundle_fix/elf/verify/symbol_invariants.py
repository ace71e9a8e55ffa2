"""The invariants of dynamic symbols, their versions and hash tables, and static symbols."""

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

IS_SET = bytes(b != 0 for b in range(256))
"""Translates a byte to 1 if it is not zero, else to 0."""
BLOCK = 4096
"""Bytes of a string table that are compared at a time."""
IS_RESERVED = bytes(255) + b"\xff"
"""Translates the upper byte of a section index to 255 if the index is reserved (SHN_LORESERVE and
above), else to 0."""


def compare_symbols(
    before: Reader, old: Image, after: Reader, new: Image, renamed: Mapping[str, str]
) -> Iterator[str]:
    """Yield the changes to dynamic symbols that no edit may make.

    Args:
        before: the original file.
        old: its image.
        after: the edited file.
        new: its image.
        renamed: replaced needed names, each with the new one.
    """
    if _read_dynamic_symbols(before, old) != _read_dynamic_symbols(after, new):
        yield "the dynamic symbols changed"
    if _differ_in_names(before, old, after, new):
        yield "the names of dynamic symbols changed"
    if _read_tables(before, old, renamed) != _read_tables(after, new, {}):
        yield "the symbol versions or hash tables changed"


def _read_dynamic_symbols(reader: Reader, image: Image) -> bytes:
    """Return the symbol table without name offsets and section numbers, which may change."""
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
    """Return symbols with section indices reduced to what the loader uses: undefined, reserved."""
    size = image.format.symbol_size
    low = 6 if image.format.bits == 64 else 14
    high = low + 1
    if image.format.order == "big":
        low, high = high, low
    reserved = data[high::size].translate(IS_RESERVED)
    used = map(max, data[low::size].translate(IS_SET), data[high::size].translate(IS_SET))
    data[low::size], data[high::size] = bytes(used), reserved
    return bytes(data)


def has_same_static_symbols(
    before: Reader,
    old: Image,
    section: Section,
    after: Reader,
    other: Section,
    start: int,
    end: int,
) -> bool:
    """Return whether two .symtab agree from ``start`` to ``end``, in bytes from their starts.

    Section symbols follow moved sections, and an editor may renumber the sections.
    """
    size = old.format.symbol_size
    step = CHUNK // size * size
    for at in range(start // size * size, min(end, section.size), step):
        length = min(step, section.size - at)
        if end - at < step:
            length = min(length, (end - at + size - 1) // size * size)
        left = before.pread(section.offset + at, length)
        right = after.pread(other.offset + at, length)
        # Only blocks that differ are worth the slow comparison.
        if left != right and _normalize_symbols(left, old) != _normalize_symbols(right, old):
            return False
    return True


def _normalize_symbols(raw: bytes, image: Image) -> bytes:
    """Return static symbols without the values of section symbols and without section numbers."""
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
    """Return whether a dynamic symbol has another name; names far from changes are skipped."""
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
    """Return the offsets between which all changes of a string table are, or twice 0."""
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
    """Return the hash and version tables by tag, with names instead of string offsets."""
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
