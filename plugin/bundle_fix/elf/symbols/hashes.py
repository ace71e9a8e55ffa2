"""Look-ups in the hash tables of dynamic symbols: a name's definitions, the number of symbols.

A look-up reads a few words, so that looking for ``malloc`` in 400 libraries takes milliseconds.
Sources: the gABI (DT_HASH), and glibc's dl-lookup.c (DT_GNU_HASH).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError

MAX_SYMBOLS = 1 << 22
"""Limit of dynamic symbols, and of the entries of one hash table."""
GNU_HEADER = (0, 4, 8, 12)
"""Offsets in a DT_GNU_HASH table: number of buckets, first symbol, Bloom words, Bloom shift."""
GNU_HEADER_SIZE = 16
MAX_CHAIN = 1 << 16
"""Limit of the symbols in one chain of a hash table."""
BATCH = 1 << 14
"""Words that are decoded at a time."""
TABLE_TAGS = frozenset(
    {
        c.DT_HASH, c.DT_GNU_HASH, c.DT_STRTAB, c.DT_VERSYM, c.DT_VERNEED, c.DT_VERDEF,
        c.DT_RELA, c.DT_REL, c.DT_JMPREL, c.DT_INIT,
    }
)  # fmt: skip
"""Dynamic tags whose values are addresses of tables that may follow the symbol table."""


@lru_cache(maxsize=1024)
def compute_gnu_hash(name: bytes) -> int:
    """Return the hash of ``name`` in DT_GNU_HASH tables (Bernstein's, 32 bits)."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def compute_sysv_hash(name: bytes) -> int:
    """Return the hash of ``name`` in DT_HASH tables, as the gABI defines it."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


class _Words:
    """32-bit (or, for DT_HASH on Alpha and 64-bit S/390, 64-bit) words at a table's address."""

    def __init__(self, reader: Reader, image: Image, address: int, width: int = 4) -> None:
        offset = image.find_offset(address)
        if offset is None:
            raise DamagedElfError("no loaded segment contains the hash table of its symbols")
        self.reader = reader
        self.offset = offset
        self.mark = image.format.mark
        self.kind = "I" if width == 4 else "Q"
        self.struct = struct.Struct(self.mark + self.kind)

    def read_word(self, byte: int) -> int:
        data = read_exactly(self.reader, self.offset + byte, self.struct.size)
        if data is None:
            raise DamagedElfError("a hash table of its symbols is truncated")
        value: int = self.struct.unpack(data)[0]
        return value

    def unpack_words(self, table: bytes) -> Iterator[tuple[int, ...]]:
        """Yield the words of ``table`` in batches; one by one they take ten times as long."""
        step = BATCH * self.struct.size
        for at in range(0, len(table), step):
            piece = table[at : at + step]
            yield struct.unpack(f"{self.mark}{len(piece) // self.struct.size}{self.kind}", piece)


def get_sysv_word_size(image: Image) -> int:
    """Return the size of a DT_HASH word: 4 bytes, but 8 on Alpha and 64-bit S/390 (psABIs)."""
    wide = image.format.bits == 64 and image.header.machine in (c.EM_ALPHA, c.EM_S390)
    return 8 if wide else 4


def count_symbols(reader: Reader, image: Image) -> int:
    """Return the number of dynamic symbols, including the null symbol, or 0 if it is unknown.

    The dynamic section has no size of the symbol table: the hash tables, the section headers, or
    the distance to the string table give it.

    Raises:
        DamagedElfError: a hash table cannot be read, or its number exceeds `MAX_SYMBOLS`.
    """
    address = image.find_value(c.DT_HASH)
    if address is not None:
        width = get_sysv_word_size(image)
        return _check_count(_Words(reader, image, address, width).read_word(width))
    address = image.find_value(c.DT_GNU_HASH)
    count = 0 if address is None else _count_gnu_symbols(reader, image, address)
    # GNU ld writes an empty table whose first symbol would be number 1 into objects that define
    # none, however many they need: only a larger number can be relied on.
    if count > 1:
        return _check_count(count)
    symbols, size = image.find_value(c.DT_SYMTAB), image.format.symbol_size
    for section in read_sections(reader, image.format, image.header):
        if section.type == c.SHT_DYNSYM and section.addr == symbols:
            return _check_count(section.size // size)
    return _check_count(_count_before_strings(image, symbols or 0))


def _count_before_strings(image: Image, symbols: int) -> int:
    """Return how many symbols fill the space up to the string table, if that comes next, or 0."""
    tables = [e.value for e in image.dynamic or () if e.tag in TABLE_TAGS and e.value > symbols]
    space = min(tables, default=symbols) - symbols
    size = image.format.symbol_size
    fits = space % size == 0 and symbols + space == image.find_value(c.DT_STRTAB)
    return space // size if fits else 0


def _check_count(count: int) -> int:
    if count > MAX_SYMBOLS:
        raise DamagedElfError(
            f"its dynamic symbols or a hash table of them have {count} entries; the limit is"
            f" {MAX_SYMBOLS}"
        )
    return count


def _count_gnu_symbols(reader: Reader, image: Image, address: int) -> int:
    words = _Words(reader, image, address)
    buckets, first, bloom = map(words.read_word, GNU_HEADER[:3])
    start = GNU_HEADER_SIZE + bloom * image.format.bits // 8
    table = read_exactly(reader, words.offset + start, _check_count(buckets) * 4)
    if table is None:
        raise DamagedElfError("the GNU hash table of its symbols is truncated")
    last = max((max(some) for some in words.unpack_words(table)), default=0)
    if last < first:
        return first
    chains = start + buckets * 4
    for index in range(_check_count(last), last + MAX_CHAIN):
        if words.read_word(chains + (index - first) * 4) & 1:
            return index + 1
    raise DamagedElfError(f"a chain of its GNU hash table is longer than {MAX_CHAIN} symbols")


def find_first_hashed_symbol(reader: Reader, image: Image) -> int:
    """Return the number of the first symbol that the hash table finds.

    A DT_GNU_HASH table contains only defined symbols, which are the last ones of the symbol table.

    Raises:
        DamagedElfError: the hash table cannot be read.
    """
    address = image.find_value(c.DT_GNU_HASH)
    if address is None:
        return 0
    return _Words(reader, image, address).read_word(GNU_HEADER[1])


def measure_gnu_hash(reader: Reader, image: Image, address: int) -> int:
    """Return the size of the DT_GNU_HASH table at ``address``, in bytes."""
    words = _Words(reader, image, address)
    buckets, first, bloom = map(words.read_word, GNU_HEADER[:3])
    total = _count_gnu_symbols(reader, image, address)
    return GNU_HEADER_SIZE + bloom * image.format.bits // 8 + buckets * 4 + (total - first) * 4


def measure_sysv_hash(reader: Reader, image: Image, address: int) -> int:
    """Return the size of the DT_HASH table at ``address``, in bytes."""
    width = get_sysv_word_size(image)
    words = _Words(reader, image, address, width)
    return (2 + _check_count(words.read_word(0)) + _check_count(words.read_word(width))) * width


def provides_symbol(reader: Reader, image: Image, name: bytes) -> bool:
    """Return whether the file defines the dynamic symbol ``name`` for other objects.

    Raises:
        DamagedElfError: the hash or symbol table cannot be read.
    """
    return next(find_definitions(reader, image, name), None) is not None


def find_provided_symbols(reader: Reader, image: Image, names: Iterable[bytes]) -> frozenset[bytes]:
    """Return those of ``names`` that the file defines for other objects.

    The Bloom filter of a DT_GNU_HASH table is read once for all names.

    Raises:
        DamagedElfError: the hash or symbol table cannot be read.
    """
    address = image.find_value(c.DT_GNU_HASH)
    candidates = names if address is None else _filter_by_bloom(reader, image, address, names)
    return frozenset(name for name in candidates if provides_symbol(reader, image, name))


def _filter_by_bloom(
    reader: Reader, image: Image, address: int, names: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield the names that the table's Bloom filter lets through."""
    words, bits = _Words(reader, image, address), image.format.bits
    bloom, shift = map(words.read_word, GNU_HEADER[2:])
    order = image.format.mark
    step = bits // 8
    raw = read_exactly(reader, words.offset + GNU_HEADER_SIZE, _check_count(bloom) * step)
    if raw is None:
        raise DamagedElfError("a hash table of its symbols is truncated")
    masks = struct.Struct(f"{order}{bloom}{'Q' if bits == 64 else 'I'}").unpack(raw)
    for name in names if bloom else ():
        value = compute_gnu_hash(name)
        mask = masks[(value // bits) % bloom]
        if mask >> (value % bits) & mask >> ((value >> shift) % bits) & 1:
            yield name


def find_definitions(reader: Reader, image: Image, name: bytes) -> Iterator[int]:
    """Yield the index of every dynamic symbol that defines ``name``: one for each version.

    Raises:
        DamagedElfError: the hash or symbol table cannot be read.
    """
    table = find_string_table(image)
    symbols = image.find_value(c.DT_SYMTAB)
    start = None if symbols is None else image.find_offset(symbols)
    if table is None or start is None:
        return
    for index in _find_candidates(reader, image, name):
        size = image.format.symbol_size
        raw = read_exactly(reader, start + index * size, size)
        if raw is None:
            raise DamagedElfError("its dynamic symbol table is truncated")
        order = image.format.order
        at = int.from_bytes(raw[:4], order)
        section = int.from_bytes(raw[6:8] if image.format.bits == 64 else raw[14:16], order)
        text = reader.pread(table[0] + at, len(name) + 1)
        if text == name + b"\0" and section != c.SHN_UNDEF:
            yield index


def _find_candidates(reader: Reader, image: Image, name: bytes) -> Iterator[int]:
    address = image.find_value(c.DT_GNU_HASH)
    if address is not None:
        yield from _find_gnu_candidates(reader, image, address, compute_gnu_hash(name))
        return
    address = image.find_value(c.DT_HASH)
    if address is not None:
        yield from _find_sysv_candidates(reader, image, address, compute_sysv_hash(name))


def _find_gnu_candidates(
    reader: Reader, image: Image, address: int, name_hash: int
) -> Iterator[int]:
    words = _Words(reader, image, address)
    buckets, first, bloom, shift = map(words.read_word, GNU_HEADER)
    bits = image.format.bits
    if not buckets or not bloom:
        return
    step = bits // 8
    filter_words = _Words(reader, image, address, step)
    mask = filter_words.read_word(GNU_HEADER_SIZE + (name_hash // bits) % bloom * step)
    if not mask >> (name_hash % bits) & mask >> ((name_hash >> shift) % bits) & 1:
        return
    start = GNU_HEADER_SIZE + bloom * step
    index = words.read_word(start + name_hash % buckets * 4)
    if index < first:
        return
    for _ in range(MAX_CHAIN):
        value = words.read_word(start + buckets * 4 + (index - first) * 4)
        # The lowest bit of a chain's word marks its end; the others are the hash.
        if value | 1 == name_hash | 1:
            yield index
        if value & 1:
            return
        index += 1


def _find_sysv_candidates(
    reader: Reader, image: Image, address: int, name_hash: int
) -> Iterator[int]:
    width = get_sysv_word_size(image)
    words = _Words(reader, image, address, width)
    buckets = words.read_word(0)
    if not buckets:
        return
    index = words.read_word((2 + name_hash % buckets) * width)
    for _ in range(MAX_CHAIN):
        if index == 0:
            return
        yield index
        index = words.read_word((2 + buckets + index) * width)
