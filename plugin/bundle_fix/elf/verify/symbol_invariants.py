"""The invariants of dynamic symbols, their versions and hash tables, and static symbols."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, count

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.ranges import Span, has_same_range
from bundle_fix.elf.verify.reading import MAX_STRING, ElfStructure
from bundle_fix.elf.verify.requested.values import expect_version_indices
from bundle_fix.elf.verify.tables import SYMBOL_SIZES, DynamicTables, decode_words
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import DamagedElfError

IS_SET = bytes(b != 0 for b in range(256))
"""Translates a byte to 1 if it is not zero, else to 0."""
IS_SECTION = bytes(info & 0xF == c.STT_SECTION for info in range(256))
"""Translates an st_info to 1 if the symbol stands for a section, else to 0."""
IS_RESERVED = bytes(255) + b"\xff"
"""Translates the upper byte of a section index to 255 if the index is reserved (SHN_LORESERVE and
above), else to 0."""
BLOCK = 4096
"""Bytes of a string table that are compared at a time."""
MAX_STRING_TABLE = 256 << 20
"""Limit of the bytes of dynamic symbol names that are compared one by one."""


def compare_symbols(
    old: ElfStructure,
    old_tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    changes: Changes,
) -> Iterator[str]:
    """Yield the changes to dynamic symbols that no edit may make.

    Args:
        old: the original file.
        old_tables: its tables.
        new: the edited file.
        new_tables: its tables.
        changes: the requested changes.
    """
    was, now = (t.spans.get(c.DT_SYMTAB, Span(0, 0)) for t in (old_tables, new_tables))
    same_size = was.end - was.start == now.end - now.start
    if not same_size or not has_same_symbols(old, was, new, now, normalize_dynamic):
        yield "the dynamic symbols changed"
    if _differ_in_names(old, was, new, now):
        yield "the names of dynamic symbols changed"
    if (
        _differ_in_hashes(old, old_tables, new, new_tables)
        or differ_in_version_lists(old_tables, new_tables, changes)
        or _differ_in_versions(old, old_tables, new, new_tables, changes)
    ):
        yield "the symbol versions or hash tables changed"


Normalize = Callable[[bytes, ElfStructure], bytes]
"""A function that removes from symbols what an edit may change."""


def has_same_symbols(
    old: ElfStructure, was: Span, new: ElfStructure, now: Span, normalize: Normalize
) -> bool:
    """Return whether two ranges of symbols of the same size agree after ``normalize``."""
    step = CHUNK // SYMBOL_SIZES[old.bits] * SYMBOL_SIZES[old.bits]
    for start in range(was.start, was.end, step):
        size = min(step, was.end - start)
        left = old.reader.pread(start, size)
        right = new.reader.pread(now.start + start - was.start, size)
        # Only parts that differ are worth the slow comparison.
        if left != right and normalize(left, old) != normalize(right, new):
            return False
        if len(left) < size:
            break
    return True


def normalize_dynamic(raw: bytes, elf: ElfStructure) -> bytes:
    """Return dynamic symbols without name offsets and section numbers."""
    size = SYMBOL_SIZES[elf.bits]
    data = bytearray(raw)
    for byte in range(4):
        data[byte::size] = bytes(len(data[byte::size]))
    return _drop_indices(data, elf)


def normalize_static(raw: bytes, elf: ElfStructure) -> bytes:
    """Return static symbols without the values of section symbols and without section numbers.

    Section symbols follow moved sections, and an editor may renumber the sections.
    """
    size = SYMBOL_SIZES[elf.bits]
    data = bytearray(raw[: len(raw) // size * size])
    info_at, value_at, width = (4, 8, 8) if elf.bits == 64 else (12, 4, 4)
    for number in compress(count(), data[info_at::size].translate(IS_SECTION)):
        value = number * size + value_at
        data[value : value + width] = bytes(width)
    return _drop_indices(data, elf)


def _drop_indices(data: bytearray, elf: ElfStructure) -> bytes:
    """Return symbols with section indices reduced to what the loader uses: undefined, reserved."""
    size = SYMBOL_SIZES[elf.bits]
    low = 6 if elf.bits == 64 else 14
    high = low + 1
    if elf.order == "big":
        low, high = high, low
    reserved = data[high::size].translate(IS_RESERVED)
    used = map(max, data[low::size].translate(IS_SET), data[high::size].translate(IS_SET))
    data[low::size], data[high::size] = bytes(used), reserved
    return bytes(data)


def _differ_in_names(old: ElfStructure, was: Span, new: ElfStructure, now: Span) -> bool:
    """Return whether a dynamic symbol has another name."""
    strings, others = old.string_table, new.string_table
    if strings is None or others is None:
        return strings != others
    names, new_names = _read_name_offsets(old, was), _read_name_offsets(new, now)
    if names != new_names:
        return _differ_in_pairs(old, strings, new, others, set(zip(names, new_names, strict=False)))
    # Most edits change a few bytes of the table: only names that reach them are compared.
    changed = _find_changed_range(old, strings, new, others)
    near = {name for name in names if changed.start <= name < changed.end}
    return bool(near) and _differ_in_strings(old, strings, new, others, changed, near)


def _read_name_offsets(elf: ElfStructure, symbols: Span) -> array[int]:
    """Return st_name of each symbol: its first word."""
    words = decode_words(elf, elf.reader.pread(symbols.start, symbols.end - symbols.start))
    return words[:: SYMBOL_SIZES[elf.bits] // 4]


def _differ_in_pairs(
    old: ElfStructure,
    strings: Span,
    new: ElfStructure,
    others: Span,
    pairs: Iterable[tuple[int, int]],
) -> bool:
    """Return whether one of the pairs of offsets leads to two different strings."""
    tables = [_read_table(old, strings), _read_table(new, others)]
    left = MAX_STRING_TABLE
    for one, other in pairs:
        end = tables[0].find(b"\0", one)
        if end < 0 or not tables[1].startswith(tables[0][one : end + 1], other):
            return True
        left -= end - one
        if left < 0:
            raise DamagedElfError(
                f"the names of its dynamic symbols exceed the limit of {MAX_STRING_TABLE} bytes"
            )
    return False


def _read_table(elf: ElfStructure, span: Span) -> bytes:
    size = span.end - span.start
    if size > MAX_STRING_TABLE:
        raise DamagedElfError(
            f"its dynamic string table has {size} bytes; the limit is {MAX_STRING_TABLE}"
        )
    return elf.reader.pread(span.start, size)


def _find_changed_range(old: ElfStructure, was: Span, new: ElfStructure, now: Span) -> Span:
    """Return the offsets in a string table from the first string that changed to the last change.

    A string that is longer than `MAX_STRING` counts from there on.
    """
    size = min(was.end - was.start, now.end - now.start)
    changed: list[int] = []
    for start in range(0, size, CHUNK):
        length = min(CHUNK, size - start)
        one = old.reader.pread(was.start + start, length)
        other = new.reader.pread(now.start + start, length)
        if one != other:
            blocks = range(0, length, BLOCK)
            changed += (
                start + at for at in blocks if one[at : at + BLOCK] != other[at : at + BLOCK]
            )
    shorter = size < was.end - was.start
    if not changed and not shorter:
        return Span(0, 0)
    first = changed[0] if changed else size
    head = old.reader.pread(was.start + max(0, first - MAX_STRING), min(first, MAX_STRING))
    start = first - len(head) + head.rfind(b"\0") + 1
    return Span(start, was.end - was.start if shorter else min(changed[-1] + BLOCK, size))


def _differ_in_strings(
    old: ElfStructure,
    was: Span,
    new: ElfStructure,
    now: Span,
    changed: Span,
    offsets: Iterable[int],
) -> bool:
    """Return whether a string at one of ``offsets`` differs; all are in ``changed``."""
    one = _read_table(old, Span(was.start + changed.start, was.start + changed.end))
    end = min(now.start + changed.end, now.end)
    other = _read_table(new, Span(now.start + changed.start, end)).ljust(len(one), b"\xff")
    # As large integers: a loop over bytes takes a hundred times as long.
    both = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    differs = both.to_bytes(len(one), "little").translate(IS_SET)
    nul = change = -1
    for at in sorted(offset - changed.start for offset in offsets):
        if nul < at:
            nul = one.find(b"\0", at)
            nul = len(one) if nul < 0 else nul
        if change < at:
            change = differs.find(b"\1", at)
            if change < 0:
                return False
        if change <= nul:
            return True
    return False


def _differ_in_hashes(
    old: ElfStructure, old_tables: DynamicTables, new: ElfStructure, new_tables: DynamicTables
) -> bool:
    """Return whether a hash table differs."""
    for tag in (c.DT_HASH, c.DT_GNU_HASH):
        was, now = (t.spans.get(tag, Span(0, 0)) for t in (old_tables, new_tables))
        size = was.end - was.start
        if size != now.end - now.start:
            return True
        if not has_same_range(old.reader, was.start, new.reader, now.start, size):
            return True
    return False


def differ_in_version_lists(
    old_tables: DynamicTables, new_tables: DynamicTables, changes: Changes
) -> bool:
    """Return whether a table is missing or new, or a list of versions differs, names replaced."""
    if old_tables.spans.keys() != new_tables.spans.keys():
        return True
    renamed = dict(changes.replace_needed)
    libraries = {os.fsencode(name): os.fsencode(other) for name, other in renamed.items()}
    for tag, records in old_tables.versions.items():
        other = new_tables.versions[tag]
        names = tuple(libraries.get(name, name) for name in records.libraries)
        if (records.numbers, names, records.names) != (
            other.numbers, other.libraries, other.names,
        ):  # fmt: skip
            return True
    return False


def _differ_in_versions(
    old: ElfStructure,
    old_tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    changes: Changes,
) -> bool:
    """Return whether a symbol has another version than ``changes`` give it."""
    was, now = (t.spans.get(c.DT_VERSYM, Span(0, 0)) for t in (old_tables, new_tables))
    size = was.end - was.start
    if size != now.end - now.start:
        return True
    if not changes.clear_versions or not size:
        return not has_same_range(old.reader, was.start, new.reader, now.start, size)
    names = read_names(old, old_tables.spans[c.DT_SYMTAB])
    before = old.reader.pread(was.start, size)
    expected = expect_version_indices(before, names, changes, old.mark)
    return expected != new.reader.pread(now.start, size)


def read_names(elf: ElfStructure, symbols: Span) -> list[bytes]:
    """Return the name of each dynamic symbol."""
    table = _read_table(elf, elf.string_table or Span(0, 0))
    names, left = [], MAX_STRING_TABLE
    for at in _read_name_offsets(elf, symbols):
        names.append(table[at : table.find(b"\0", at)])
        left -= len(names[-1])
        if left < 0:
            raise DamagedElfError(
                f"the names of its dynamic symbols exceed the limit of {MAX_STRING_TABLE} bytes"
            )
    return names
