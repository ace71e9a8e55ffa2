"""Hash tables of dynamic symbols, built again in their places with the same size.

Sources: the gABI (DT_HASH), and glibc's dl-lookup.c (DT_GNU_HASH).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.hashes import (
    GNU_HEADER_SIZE,
    compute_gnu_hash,
    compute_sysv_hash,
    get_sysv_word_size,
    measure_gnu_hash,
    measure_sysv_hash,
)
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import Patch


class _GnuHash(NamedTuple):
    """A DT_GNU_HASH table: its place, and the numbers that remain.

    Attributes:
        offset: its file offset.
        size: its size in bytes.
        buckets: the number of buckets.
        first: the number of the first symbol that it has.
        bloom: the number of words in the Bloom filter.
        shift: the distance of the second bit of a name in the Bloom filter.
    """

    offset: int
    size: int
    buckets: int
    first: int
    bloom: int
    shift: int


def sort_by_bucket(reader: Reader, image: Image, names: Sequence[bytes]) -> list[int]:
    """Return the numbers of the symbols in the order that the GNU hash table requires."""
    table = _read_gnu_hash(reader, image)
    if table is None:
        return list(range(len(names)))
    hashed = sorted(
        range(table.first, len(names)), key=lambda n: compute_gnu_hash(names[n]) % table.buckets
    )
    return [*range(table.first), *hashed]


def build_gnu_hash(reader: Reader, image: Image, names: Sequence[bytes]) -> Iterator[Patch]:
    """Yield the patch of the GNU hash table for the names of all symbols, in their final order."""
    table = _read_gnu_hash(reader, image)
    if table is None:
        return
    bits = image.format.bits
    bloom, buckets = [0] * table.bloom, [0] * table.buckets
    chains: list[int] = []
    for number in range(table.first, len(names)):
        value = compute_gnu_hash(names[number])
        word = (value // bits) % table.bloom
        bloom[word] |= 1 << (value % bits) | 1 << ((value >> table.shift) % bits)
        if not buckets[value % table.buckets]:
            buckets[value % table.buckets] = number
            # The lowest bit marks the end of a chain.
            chains[-1:] = [last | 1 for last in chains[-1:]]
        chains.append(value & ~1)
    chains[-1:] = [last | 1 for last in chains[-1:]]
    mark = image.format.mark
    data = struct.pack(f"{mark}{len(bloom)}{'Q' if bits == 64 else 'I'}", *bloom)
    data += struct.pack(f"{mark}{len(buckets) + len(chains)}I", *buckets, *chains)
    if GNU_HEADER_SIZE + len(data) != table.size:
        raise DamagedElfError("the hash tables of its symbols have different numbers of symbols")
    yield Patch(table.offset + GNU_HEADER_SIZE, data)


def _read_gnu_hash(reader: Reader, image: Image) -> _GnuHash | None:
    """Return the GNU hash table; None if the file has none, or one without symbols."""
    address = image.find_value(c.DT_GNU_HASH)
    offset = None if address is None else image.find_offset(address)
    if address is None or offset is None:
        return None
    size = measure_gnu_hash(reader, image, address)
    data = read_exactly(reader, offset, size)
    mark = image.format.mark
    if data is None or len(data) < GNU_HEADER_SIZE:
        raise DamagedElfError("the GNU hash table of its symbols is truncated")
    buckets, first, bloom, shift = struct.unpack_from(f"{mark}4I", data)
    words = GNU_HEADER_SIZE + bloom * image.format.bits // 8
    if not buckets or not bloom or not data[words : words + 4 * buckets].strip(b"\0"):
        return None
    return _GnuHash(offset, size, buckets, first, bloom, shift)


def build_sysv_hash(reader: Reader, image: Image, names: Sequence[bytes]) -> Iterator[Patch]:
    """Yield the patch of the DT_HASH table for the names of all symbols, in their final order."""
    address = image.find_value(c.DT_HASH)
    offset = None if address is None else image.find_offset(address)
    if address is None or offset is None:
        return
    width = get_sysv_word_size(image)
    data = read_exactly(reader, offset, measure_sysv_hash(reader, image, address))
    if data is None:
        raise DamagedElfError("the hash table of its symbols is truncated")
    count = int.from_bytes(data[:width], image.format.order)
    buckets, chains = [0] * count, [0] * len(names)
    # Symbol 0 is the null symbol. A symbol before another one of its chain is found first.
    for number in range(len(names) - 1, 0, -1) if count else ():
        bucket = compute_sysv_hash(names[number]) % count
        chains[number], buckets[bucket] = buckets[bucket], number
    mark = image.format.mark
    words = struct.pack(
        f"{mark}{count + len(chains)}{'I' if width == 4 else 'Q'}", *buckets, *chains
    )
    yield Patch(offset + 2 * width, words)
