"""Sparse members of tarballs: files of which only the pieces between the holes are stored.

Four ways to say where the pieces belong are in use, all of GNU tar: the old one in the header
itself, and versions 0.0, 0.1 and 1.0 in pax headers (GNU tar's manual, "Storing Sparse Files").
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec import Struct

from bundle_fix.model.content import ArchiveSlice, Patch, Reader

BLOCK = 512
ENTRY = struct.Struct("12s12s")
IN_HEADER, IN_BLOCK = 4, 21
FIRST_ENTRY, MORE, REAL_SIZE = 386, 482, 483
MORE_IN_BLOCK = 504
MAX_EXTENTS = 1 << 20
"""Pieces of one file: a map of as many is 20 MB long."""
MAX_DIGITS = 19


class SparseError(Exception):
    """A map of pieces contradicts itself or the size of the archive; the text says how."""


class Extent(NamedTuple):
    """``size`` bytes of a file at ``offset``, which the archive has at ``stored``."""

    offset: int
    stored: int
    size: int


class SparseMap(NamedTuple):
    """The pieces of a file, its size, and where in the archive its stored bytes are."""

    extents: tuple[Extent, ...]
    real_size: int
    data: int
    size: int


class SparseReader(Struct, frozen=True):
    """A sparse file as it is once unpacked: zeros wherever nothing is stored."""

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
    """A sparse file of a tarball; ``stored`` are its bytes as they stand in the archive."""

    stored: ArchiveSlice
    size: int
    extents: tuple[Extent, ...]

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the file as it is once unpacked."""
        yield SparseReader(self.stored.archive, self.size, self.extents)

    def in_store(self, patches: Sequence[Patch]) -> tuple[Patch, ...] | None:
        """``patches`` to the file as patches to ``stored``; None where one lies in a hole."""
        found = []
        for patch in patches:
            index = bisect_right(self.extents, patch.offset, key=lambda e: e.offset) - 1
            extent = self.extents[index] if index >= 0 else Extent(0, 0, 0)
            if patch.end > extent.offset + extent.size:
                return None
            place = extent.stored - self.stored.start + patch.offset - extent.offset
            found.append(Patch(place, patch.data))
        return tuple(found)


class SparseHeader(Struct, frozen=True):
    """A header with a map, as it stands in the archive; it is valid for one content alone."""

    header: ArchiveSlice
    of: SparseContent

    @property
    def size(self) -> int:
        """See `Content`."""
        return self.header.size

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the header."""
        with self.header.open() as reader:
            yield reader


def is_sparse(records: Mapping[str, str]) -> bool:
    """Whether a pax header describes a sparse file."""
    return any(f"GNU.sparse.{name}" in records for name in ("major", "map", "numblocks"))


def drop_sparse_records(records: Mapping[str, str]) -> dict[str, str]:
    """The records that stay true once a file is stored whole."""
    return {name: value for name, value in records.items() if not name.startswith("GNU.sparse.")}


def read_gnu_extents(file: Reader, block: bytes, data: int, size: int) -> SparseMap:
    """The map in an old GNU header and the blocks that continue it.

    Raises:
        SparseError: it contradicts itself.
    """
    pairs: list[tuple[int, int]] = []
    _take(pairs, block[FIRST_ENTRY:], IN_HEADER)
    more, start = block[MORE], data
    while more:
        block_of_map = file.pread(start, BLOCK)
        if len(block_of_map) < BLOCK or len(pairs) > MAX_EXTENTS:
            raise SparseError("the map of a sparse file has no end")
        _take(pairs, block_of_map, IN_BLOCK)
        more = block_of_map[MORE_IN_BLOCK]
        start += BLOCK
    real = _field(block[REAL_SIZE : REAL_SIZE + 12])
    return _sparse(pairs, real, start, size)


def _take(pairs: list[tuple[int, int]], raw: bytes, count: int) -> None:
    for offset, size in ENTRY.iter_unpack(raw[: count * ENTRY.size]):
        if not offset.strip(b"\0 ") and not size.strip(b"\0 "):
            return
        pairs.append((_field(offset), _field(size)))


def _field(raw: bytes) -> int:
    if raw[0] & 0x80:
        return int.from_bytes(raw[1:], "big")
    return _whole(raw.split(b"\0", 1)[0].strip().decode("ascii", "replace") or "0", 8)


def _whole(text: str, base: int = 10) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise SparseError("the map of a sparse file has what is no number")
    try:
        return int(text, base)
    except ValueError as error:
        raise SparseError("the map of a sparse file has what is no number") from error


def read_pax_extents(
    file: Reader, records: Sequence[tuple[str, str]], data: int, size: int
) -> SparseMap:
    """The map that a pax header has, or that it says to be in front of the bytes.

    Raises:
        SparseError: it contradicts itself, or is of a version that nobody knows.
    """
    said = dict(records)
    real = said.get("GNU.sparse.realsize") or said.get("GNU.sparse.size") or ""
    if "GNU.sparse.major" in said:
        if (said["GNU.sparse.major"], said.get("GNU.sparse.minor")) != ("1", "0"):
            raise SparseError("the map of a sparse file is of an unknown version")
        numbers, start = _map_in_front(file, data, size)
        return _sparse(_paired(numbers), _whole(real), start, size - (start - data))
    if "GNU.sparse.map" in said:
        texts = said["GNU.sparse.map"].split(",")
    else:
        texts = [v for n, v in records if n in ("GNU.sparse.offset", "GNU.sparse.numbytes")]
    numbers = [_whole(text) for text in texts if text or len(texts) > 1]
    return _sparse(_paired(numbers), _whole(real), data, size)


def _map_in_front(file: Reader, data: int, size: int) -> tuple[list[int], int]:
    """The numbers of a map of version 1.0, a line each, the first one their count."""
    numbers: list[int] = []
    rest, at, wanted = b"", data, 1
    while len(numbers) < wanted:
        block = file.pread(at, BLOCK)
        if at + BLOCK > data + size or len(block) < BLOCK or wanted > 2 * MAX_EXTENTS:
            raise SparseError("the map of a sparse file has no end")
        at += BLOCK
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if len(numbers) < wanted:
                numbers.append(_whole(line.decode("ascii", "replace")))
                wanted = 1 + 2 * numbers[0]
        if len(rest) > MAX_DIGITS and len(numbers) < wanted:
            raise SparseError("the map of a sparse file has what is no number")
    return numbers[1:], at


def _paired(numbers: Sequence[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * MAX_EXTENTS:
        raise SparseError("the map of a sparse file is half a map")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _sparse(pairs: Sequence[tuple[int, int]], real: int, data: int, size: int) -> SparseMap:
    """The pieces, if they stand in order, within the file and within what is stored."""
    extents, stored, end = [], data, 0
    for offset, length in pairs:
        if offset < end or offset + length > real:
            raise SparseError("the pieces of a sparse file overlap, or lie beyond its end")
        if length:
            extents.append(Extent(offset, stored, length))
        end = offset + length
        stored += length
    if stored - data > size or size < 0:
        raise SparseError("a sparse file has more pieces than bytes")
    return SparseMap(tuple(extents), real, data, size)
