"""The invariants of an edit that renames dynamic symbols.

Symbols may change their order, as a GNU hash table requires. So a symbol is recognized by its new
name, its version and its other fields, and everything that has symbol numbers is compared by them.
Sources: the gABI (DT_HASH, relocations), and glibc's dl-lookup.c (DT_GNU_HASH).
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.elf.verify.requested.values import expect_version_indices
from bundle_fix.elf.verify.symbol_invariants import (
    differ_in_version_lists,
    normalize_dynamic,
    read_names,
)
from bundle_fix.elf.verify.tables import (
    SYMBOL_SIZES,
    DynamicTables,
    decode_words,
    get_hash_width,
    hash_gnu_name,
    hash_name,
)
from bundle_fix.model.errors import DamagedElfError

RELOCATIONS = ((c.DT_RELA, c.DT_RELASZ), (c.DT_REL, c.DT_RELSZ), (c.DT_JMPREL, c.DT_PLTRELSZ))
MAX_RELOCATIONS = 1 << 28
"""Limit of one table of relocations, in bytes."""
SymbolKey = tuple[bytes, bytes, bytes]
"""A symbol by its name, its other fields, and its version index."""


def compare_renamed_symbols(
    old: ElfStructure,
    old_tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    changes: Changes,
) -> Iterator[str]:
    """Yield the changes to dynamic symbols that the renaming of some does not require."""
    if differ_in_version_lists(old_tables, new_tables, changes):
        yield "the symbol versions or hash tables changed"
        return
    renamed = {os.fsencode(name): os.fsencode(other) for name, other in changes.rename_symbols}
    names = read_names(old, old_tables.spans.get(c.DT_SYMTAB, Span(0, 0)))
    versions = _read_span(old, old_tables, c.DT_VERSYM)
    if versions:
        versions = expect_version_indices(versions, names, changes, old.mark)
    expected = _list_keys(old, old_tables, [renamed.get(n, n) for n in names], versions)
    new_names = read_names(new, new_tables.spans.get(c.DT_SYMTAB, Span(0, 0)))
    found = _list_keys(new, new_tables, new_names, _read_span(new, new_tables, c.DT_VERSYM))
    first = _find_first_hashed(old, old_tables)
    if expected[:first] != found[:first] or Counter(expected) != Counter(found):
        yield "the dynamic symbols changed"
    if not _has_right_gnu_hash(old, old_tables, new, new_tables, new_names):
        yield "the GNU hash table does not match the names of the symbols"
    if not _has_right_sysv_hash(old, old_tables, expected, new, new_tables, found):
        yield "the hash table does not match the names of the symbols"
    if _list_relocations(old, expected) != _list_relocations(new, found):
        yield "the symbols of relocations changed"


def add_relocations(elf: ElfStructure, tables: DynamicTables) -> DynamicTables:
    """Return ``tables`` with the spans of relocations, whose symbol numbers may change."""
    spans = dict(_find_relocations(elf))
    return replace(tables, spans={**tables.spans, **spans})


def _read_span(elf: ElfStructure, tables: DynamicTables, tag: int) -> bytes:
    span = tables.spans.get(tag, Span(0, 0))
    return elf.reader.pread(span.start, span.end - span.start)


def _list_keys(
    elf: ElfStructure, tables: DynamicTables, names: Sequence[bytes], versions: bytes
) -> list[SymbolKey]:
    size = SYMBOL_SIZES[elf.bits]
    data = normalize_dynamic(_read_span(elf, tables, c.DT_SYMTAB), elf)
    return [
        (name, data[n * size : (n + 1) * size], versions[2 * n : 2 * n + 2])
        for n, name in enumerate(names)
    ]


def _find_first_hashed(elf: ElfStructure, tables: DynamicTables) -> int | None:
    """Return the number of the first symbol whose place depends on its name; None for none."""
    table = _read_span(elf, tables, c.DT_GNU_HASH)
    if not table:
        return None
    words = struct.unpack_from(elf.mark + "4I", table)
    return words[1] if len(table) > 16 + 4 * words[0] + words[2] * elf.bits // 8 else None


def _has_right_gnu_hash(
    old: ElfStructure,
    old_tables: DynamicTables,
    new: ElfStructure,
    new_tables: DynamicTables,
    names: Sequence[bytes],
) -> bool:
    """Return whether a look-up of each hashed symbol finds it; the table keeps its numbers."""
    was, now = (
        _read_span(old, old_tables, c.DT_GNU_HASH),
        _read_span(new, new_tables, c.DT_GNU_HASH),
    )
    if was[:16] != now[:16] or len(was) != len(now):
        return False
    first = _find_first_hashed(new, new_tables)
    if first is None:
        return was == now
    count, _, bloom, shift = struct.unpack_from(new.mark + "4I", now)
    start = 16 + bloom * new.bits // 8
    masks = decode_words(new, now[16:start], new.bits // 8)
    words = decode_words(new, now[start:])
    buckets, chains = words[:count], words[count:]
    hashes = [hash_gnu_name(name) for name in names[first:]]
    if len(chains) != len(hashes):
        return False
    filters = [0] * bloom
    firsts: dict[int, int] = {}
    for number, value in enumerate(hashes):
        filters[value // new.bits % bloom] |= 1 << value % new.bits
        filters[value // new.bits % bloom] |= 1 << (value >> shift) % new.bits
        firsts.setdefault(value % count, first + number)
    ends = [a % count != b % count for a, b in pairwise(hashes)] + [True]
    runs = sum(ends)
    return (
        list(masks) == filters
        and runs == len(firsts)
        and list(buckets) == [firsts.get(number, 0) for number in range(count)]
        and all(
            word == (value | 1 if end else value & ~1)
            for word, value, end in zip(chains, hashes, ends, strict=True)
        )
    )


def _has_right_sysv_hash(
    old: ElfStructure,
    old_tables: DynamicTables,
    expected: Sequence[SymbolKey],
    new: ElfStructure,
    new_tables: DynamicTables,
    found: Sequence[SymbolKey],
) -> bool:
    """Return whether the table finds every symbol that it found before, by its new name."""
    before, after = (
        _walk_sysv_hash(elf, tables) for elf, tables in ((old, old_tables), (new, new_tables))
    )
    for number, (bucket, count) in after.items():
        if number >= len(found) or hash_name(found[number][0]) % count != bucket:
            return False
    was = Counter(expected[number] for number in before if number < len(expected))
    return was <= Counter(found[number] for number in after)


def _walk_sysv_hash(elf: ElfStructure, tables: DynamicTables) -> dict[int, tuple[int, int]]:
    """Return the symbols in the chains of a DT_HASH table, with the bucket of each.

    Raises:
        DamagedElfError: a symbol is in two chains, or a chain leads out of the table.
    """
    table = _read_span(elf, tables, c.DT_HASH)
    if not table:
        return {}
    words = decode_words(elf, table, get_hash_width(elf))
    count, chains = words[0], words[2 + words[0] :]
    seen: dict[int, tuple[int, int]] = {}
    for bucket in range(count):
        number = words[2 + bucket]
        while number:
            if number in seen or number >= len(chains):
                raise DamagedElfError("a chain of the hash table of its symbols does not end")
            seen[number] = (bucket, count)
            number = chains[number]
    return seen


def _find_relocations(elf: ElfStructure) -> Iterator[tuple[int, Span]]:
    """Yield tag and file offsets of each table of relocations."""
    for tag, size_tag in RELOCATIONS:
        address, size = elf.find_value(tag), elf.find_value(size_tag)
        start = None if address is None else elf.find_offset(address)
        if start is not None and size:
            if size > MAX_RELOCATIONS or start + size > elf.reader.size:
                raise DamagedElfError(f"its relocations have {size} bytes, beyond the file")
            yield tag, Span(start, start + size)


def _list_relocations(
    elf: ElfStructure, keys: Sequence[SymbolKey]
) -> list[tuple[int, int, SymbolKey | int, tuple[int, ...]]]:
    """Return offset, type, symbol and addend of all relocations."""
    found: list[tuple[int, int, SymbolKey | int, tuple[int, ...]]] = []
    shift, letter = (32, "Q") if elf.bits == 64 else (8, "I")
    for tag, span in _find_relocations(elf):
        has_addend = (elf.find_value(c.DT_PLTREL) if tag == c.DT_JMPREL else tag) == c.DT_RELA
        layout = struct.Struct(elf.mark + letter * (3 if has_addend else 2))
        data = elf.reader.pread(span.start, span.end - span.start)
        for offset, info, *addend in layout.iter_unpack(
            data[: len(data) // layout.size * layout.size]
        ):
            number = info >> shift
            symbol = keys[number] if number < len(keys) else number
            found.append((offset, info & (1 << shift) - 1, symbol, tuple(addend)))
    return found
