"""What the loader finds in the hash tables of a file.

Sources: the gABI, "Hash Table" (DT_HASH); glibc's dl-lookup.c, do_lookup_x (DT_GNU_HASH).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.equivalence.symbols import DynamicSymbol, Symbols
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.elf.verify.tables import (
    DynamicTables,
    get_hash_width,
    hash_gnu_name,
    hash_name,
    read_words,
)
from bundle_fix.model.errors import DamagedElfError

Lookups = Mapping[bytes, tuple[DynamicSymbol, ...]]
"""The symbols that a lookup finds, in this order, by name."""


def read_lookups(tag: int, elf: ElfStructure, tables: DynamicTables, symbols: Symbols) -> Lookups:
    """Return what lookups find in the hash table of ``tag``, DT_HASH or DT_GNU_HASH.

    Raises:
        DamagedElfError: the table is damaged.
    """
    walk = _walk_gnu_hash if tag == c.DT_GNU_HASH else _walk_hash
    found: dict[bytes, tuple[DynamicSymbol, ...]] = {}
    for number in walk(elf, tables.spans[tag].start, symbols):
        symbol = symbols[number]
        # glibc's dl-lookup.c, check_match: an undefined symbol counts only with an address, that of
        # its entry in the procedure linkage table.
        if not symbol.section and not symbol.value:
            continue
        found[symbol.name] = (*found.get(symbol.name, ()), symbol)
    return found


def _walk_hash(elf: ElfStructure, start: int, symbols: Symbols) -> Iterator[int]:
    """Yield the numbers of the symbols that lookups find in a DT_HASH table."""
    width = get_hash_width(elf)
    buckets, count = read_words(elf, start, 2, width)
    words = read_words(elf, start + 2 * width, buckets + count, width)
    seen = bytearray(len(symbols))
    for bucket in range(buckets):
        number = words[bucket]
        # STN_UNDEF ends a chain. A symbol in two chains, or in a loop, is found once.
        while number:
            if number >= min(len(symbols), count):
                raise DamagedElfError(f"its hash table has the symbol number {number}")
            if seen[number]:
                break
            seen[number] = 1
            if hash_name(symbols[number].name) % buckets == bucket:
                yield number
            number = words[buckets + number]


def _walk_gnu_hash(elf: ElfStructure, start: int, symbols: Symbols) -> Iterator[int]:
    """Yield the numbers of the symbols that lookups find in a DT_GNU_HASH table."""
    buckets, first, size, shift = read_words(elf, start, 4)
    bloom = read_words(elf, start + 16, size, elf.bits // 8)
    at = start + 16 + size * elf.bits // 8
    firsts = read_words(elf, at, buckets)
    hashes = read_words(elf, at + buckets * 4, max(0, len(symbols) - first))
    seen = bytearray(len(symbols))
    for bucket, begin in enumerate(firsts):
        for number in range(max(begin, first), len(symbols)) if begin else ():
            if seen[number]:
                break
            seen[number] = 1
            stored = hashes[number - first]
            value = hash_gnu_name(symbols[number].name)
            word = bloom[value // elf.bits % size] if size else 0
            passes = word >> value % elf.bits & word >> (value >> shift) % elf.bits & 1
            if passes and value % buckets == bucket and value | 1 == stored | 1:
                yield number
            if stored & 1:
                break
