"""Sparse members of tarballs: only the pieces between the holes of a file are stored.

GNU tar has written the map of the pieces in four formats: the old one in the header itself, and
versions 0.0, 0.1 and 1.0 in pax headers (GNU tar's manual, "Storing Sparse Files").
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec import Struct

from bundle_fix.model.content import ArchiveSlice, Reader
from bundle_fix.model.patches import Patch

BLOCK = 512
ENTRY = struct.Struct("12s12s")
"""Offset and size of one piece in the old GNU format."""
ENTRIES_IN_HEADER, ENTRIES_IN_BLOCK = 4, 21
FIRST_ENTRY, IS_EXTENDED, REAL_SIZE = 386, 482, 483
IS_EXTENDED_IN_BLOCK = 504
"""Offsets in the old GNU header and in a block that continues its map (tar.h of GNU tar)."""
MAX_EXTENTS = 1 << 20
"""Stored pieces of one file: a map with that many is 20 MB long."""
MAX_DIGITS = 19
"""Digits of a decimal number in a map: enough for every number of 63 bits."""
SPARSE_RECORDS = frozenset({"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.numblocks"})
"""One of these is in the pax header of every sparse member."""
NO_NUMBER = "the map of a sparse file contains an invalid number"
NO_END = f"the map of a sparse file is truncated or has more than {MAX_EXTENTS} pieces"


class SparseError(Exception):
    """A sparse map contradicts itself or the size of the archive; the text describes how."""


class Extent(NamedTuple):
    """``size`` bytes of a file at ``offset``, stored in the archive at ``stored``."""

    offset: int
    stored: int
    size: int


class SparseMap(NamedTuple):
    """The stored pieces of a sparse file.

    Attributes:
        extents: the pieces, in order.
        real_size: the size of the unpacked file in bytes.
        data: the offset in the archive of the first stored byte.
        size: the number of stored bytes.
    """

    extents: tuple[Extent, ...]
    real_size: int
    data: int
    size: int


class SparseReader(Struct, frozen=True):
    """Reader of a sparse file as it is when unpacked: holes are zeros."""

    archive: Reader
    size: int
    extents: tuple[Extent, ...]

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        end, pieces, at = offset + length, [], offset
        first = bisect_right(self.extents, offset, key=lambda e: e.offset) - 1
        for extent in self.extents[max(first, 0) :]:
            if extent.offset >= end:
                break
            start, stop = max(extent.offset, at), min(extent.offset + extent.size, end)
            if start >= stop:
                continue
            data = self.archive.pread(extent.stored + start - extent.offset, stop - start)
            pieces += [bytes(start - at), data]
            at = start + len(data)
            if at < stop:
                return b"".join(pieces)
        return b"".join([*pieces, bytes(end - at)])


class SparseContent(Struct, frozen=True):
    """A sparse file of a tarball; ``stored`` are the bytes of its pieces in the archive."""

    stored: ArchiveSlice
    size: int
    extents: tuple[Extent, ...]

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the file as it is when unpacked."""
        yield SparseReader(self.stored.archive, self.size, self.extents)

    def map_patches(self, patches: Sequence[Patch]) -> tuple[Patch, ...] | None:
        """Return patches of the file as patches of ``stored``, or None if one is in a hole."""
        mapped = []
        for patch in patches:
            index = bisect_right(self.extents, patch.offset, key=lambda e: e.offset) - 1
            extent = self.extents[index] if index >= 0 else Extent(0, 0, 0)
            if patch.end > extent.offset + extent.size:
                return None
            offset = extent.stored - self.stored.start + patch.offset - extent.offset
            mapped.append(Patch(offset, patch.data))
        return tuple(mapped)


class SparseHeader(Struct, frozen=True):
    """A raw header with a sparse map; it is valid for ``content`` only."""

    header: ArchiveSlice
    content: SparseContent

    @property
    def size(self) -> int:
        """See `Content`."""
        return self.header.size

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the header."""
        with self.header.open() as reader:
            yield reader


def is_sparse(records: Iterable[tuple[str, str]]) -> bool:
    """Return whether a pax header describes a sparse file."""
    return any(name in SPARSE_RECORDS for name, _ in records)


def drop_sparse_records(records: Mapping[str, str]) -> dict[str, str]:
    """Return the records that are still true if the file is stored without holes."""
    return {name: value for name, value in records.items() if not name.startswith("GNU.sparse.")}


def read_gnu_extents(file: Reader, block: bytes, data: int, size: int) -> SparseMap:
    """Read the map in an old GNU header and in the blocks that continue it.

    Args:
        file: the decompressed archive.
        block: the header.
        data: the offset of the block after the header.
        size: the number of stored bytes; the continuation blocks do not count.

    Raises:
        SparseError: the map is invalid.
    """
    pairs: list[tuple[int, int]] = []
    _append_entries(pairs, block[FIRST_ENTRY:], ENTRIES_IN_HEADER)
    is_extended, start = block[IS_EXTENDED], data
    while is_extended:
        continuation = file.pread(start, BLOCK)
        if len(continuation) < BLOCK or len(pairs) > MAX_EXTENTS:
            raise SparseError(NO_END)
        _append_entries(pairs, continuation, ENTRIES_IN_BLOCK)
        is_extended = continuation[IS_EXTENDED_IN_BLOCK]
        start += BLOCK
    real_size = _parse_field(block[REAL_SIZE : REAL_SIZE + 12])
    return _build_map(pairs, real_size, start, size)


def _append_entries(pairs: list[tuple[int, int]], raw: bytes, count: int) -> None:
    """Append up to ``count`` entries; an empty one ends the list."""
    for offset, size in ENTRY.iter_unpack(raw[: count * ENTRY.size]):
        if not offset.strip(b"\0 ") and not size.strip(b"\0 "):
            return
        pairs.append((_parse_field(offset), _parse_field(size)))


def _parse_field(raw: bytes) -> int:
    """Return an unsigned number: octal digits, or binary if the first bit is set."""
    if raw[0] & 0x80:
        return int.from_bytes(raw[1:], "big")
    return _parse_number(raw.split(b"\0", 1)[0].strip().decode("ascii", "replace") or "0", 8)


def _parse_number(text: str, base: int = 10) -> int:
    # int() alone would accept signs, underscores, blanks and the digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise SparseError(NO_NUMBER)
    try:
        return int(text, base)
    except ValueError as error:
        raise SparseError(NO_NUMBER) from error


def read_pax_extents(
    file: Reader, records: Sequence[tuple[str, str]], data: int, size: int
) -> SparseMap:
    """Read the map in pax records (versions 0.0, 0.1) or at the start of the data (1.0).

    Args:
        file: the decompressed archive.
        records: the records of the member's own pax header; version 0.0 repeats names.
        data: the offset of the member's data.
        size: the size of the member's data.

    Raises:
        SparseError: the map is invalid or has an unknown version.
    """
    last = dict(records)
    real_size = last.get("GNU.sparse.realsize") or last.get("GNU.sparse.size") or ""
    if "GNU.sparse.major" in last:
        if (last["GNU.sparse.major"], last.get("GNU.sparse.minor")) != ("1", "0"):
            raise SparseError("the map of a sparse file has an unknown version")
        numbers, start = _read_map_in_data(file, data, size)
        rest = size - (start - data)
        return _build_map(_pair_numbers(numbers), _parse_number(real_size), start, rest)
    if "GNU.sparse.map" in last:
        texts = last["GNU.sparse.map"].split(",")
    else:
        texts = [v for n, v in records if n in ("GNU.sparse.offset", "GNU.sparse.numbytes")]
    # A map without pieces is empty text, which split() returns as one part.
    numbers = [_parse_number(text) for text in texts if text or len(texts) > 1]
    return _build_map(_pair_numbers(numbers), _parse_number(real_size), data, size)


def _read_map_in_data(file: Reader, data: int, size: int) -> tuple[list[int], int]:
    """Read a map of version 1.0: decimal lines, the first one the number of pieces.

    Returns:
        The offsets and sizes in turn, and the offset of the block after the map.
    """
    numbers: list[int] = []
    rest, at, count = b"", data, 1
    while len(numbers) < count:
        block = file.pread(at, BLOCK)
        if at + BLOCK > data + size or len(block) < BLOCK or count > 2 * MAX_EXTENTS:
            raise SparseError(NO_END)
        at += BLOCK
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if len(numbers) < count:
                numbers.append(_parse_number(line.decode("ascii", "replace")))
                count = 1 + 2 * numbers[0]
        if len(rest) > MAX_DIGITS and len(numbers) < count:
            raise SparseError(NO_NUMBER)
    return numbers[1:], at


def _pair_numbers(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of offset and size."""
    if len(numbers) % 2:
        raise SparseError("the map of a sparse file has an offset without a size")
    if len(numbers) > 2 * MAX_EXTENTS:
        raise SparseError(NO_END)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _build_map(pairs: Sequence[tuple[int, int]], real_size: int, data: int, size: int) -> SparseMap:
    """Return the map of ``pairs`` of offset and size.

    Raises:
        SparseError: the pieces are not in order, or exceed the file or the stored bytes.
    """
    extents, stored, end = [], data, 0
    for offset, length in pairs:
        if offset < end or offset + length > real_size:
            raise SparseError("the pieces of a sparse file overlap or exceed its size")
        if length:
            extents.append(Extent(offset, stored, length))
        end = offset + length
        stored += length
    if stored - data > size or size < 0:
        raise SparseError("the pieces of a sparse file exceed its stored data")
    return SparseMap(tuple(extents), real_size, data, size)
