"""Where a file's bytes are: on disk, in a slice of an archive, in memory, and what lies over them.

Nothing is copied until it is written: a 400 MB library in an archive is an offset and a size here,
and an edited one is that plus a few patches.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError

CHUNK = 1 << 20
"""Bytes moved at a time wherever content is streamed."""


class Patch(NamedTuple):
    """Bytes that replace the same number of bytes at ``offset``."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset just past the patch."""
        return self.offset + len(self.data)


class Reader(Protocol):
    """Random access to bytes that do not change while it is open."""

    @property
    def size(self) -> int:
        """Number of bytes that can be read."""

    def pread(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``: fewer only where the content ends."""


class SeekableReader(Reader, Protocol):
    """A reader that can be read in parts, as an archive is: each member by itself."""

    def part(self, start: int, size: int) -> AbstractContextManager[Reader]:
        """Open the ``size`` bytes from ``start`` on."""


class Content(Protocol):
    """The bytes of one file, wherever they are."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def open(self) -> AbstractContextManager[Reader]:
        """Open the bytes for reading."""


class FileReader(Struct, frozen=True):
    """A window of ``size`` bytes, from ``start`` on, of an open file."""

    fd: int
    start: int
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        return os.pread(self.fd, length, self.start + offset)

    @contextmanager
    def part(self, start: int, size: int) -> Iterator[Reader]:
        """See `SeekableReader`."""
        yield FileReader(self.fd, self.start + start, size)


class PathContent(Struct, frozen=True):
    """A regular file on disk; opening it follows no link and waits for no fifo.

    ``identity`` is what it was when it was first seen, where that is known: its inode and when it
    was last changed, in nanoseconds since the epoch. What is another now is not read.
    """

    path: Path
    size: int
    identity: tuple[int, int] | None = None

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the file.

        Raises:
            BundleFixError: it cannot be read, is not a regular file, or changes.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise BundleFixError(
                f"cannot read the file: {error.strerror}", where=str(self.path)
            ) from error
        try:
            before = os.fstat(fd)
            same = before.st_size == self.size and self.identity in (None, _identity(before))
            if not (same and stat.S_ISREG(before.st_mode)):
                raise self._other()
            yield FileReader(fd, 0, self.size)
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns) != (self.size, before.st_mtime_ns):
                raise self._other()
        finally:
            os.close(fd)

    def _other(self) -> BundleFixError:
        return BundleFixError(
            "the file changed while it was read", where=str(self.path), hint="run again"
        )


def make_path_content(path: Path, status: os.stat_result | None = None) -> PathContent:
    """The file at ``path`` as it is now, or was when ``status`` was taken.

    Raises:
        OSError: there is none.
    """
    status = status or path.lstat()
    return PathContent(path, status.st_size, _identity(status))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


class FileSlice(Struct, frozen=True):
    """``size`` bytes from ``start`` on of a file that its owner keeps open."""

    fd: int
    start: int
    size: int

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the slice; the file's owner closes the file."""
        yield FileReader(self.fd, self.start, self.size)


class ArchiveSlice(Struct, frozen=True):
    """``size`` bytes from ``start`` on of an archive that its owner keeps open."""

    whole: SeekableReader
    start: int
    size: int

    def open(self) -> AbstractContextManager[Reader]:
        """Open the part; the archive's owner closes the archive."""
        return self.whole.part(self.start, self.size)


class PartReader(Struct, frozen=True):
    """``size`` bytes from ``start`` on of another reader."""

    base: Reader
    start: int
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        return self.base.pread(self.start + offset, length)


class BytesReader(Struct, frozen=True):
    """Bytes in memory, read like a file."""

    data: bytes

    @property
    def size(self) -> int:
        """See `Reader`."""
        return len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        return self.data[offset : offset + length] if offset >= 0 and length > 0 else b""


class BytesContent(Struct, frozen=True):
    """Literal bytes."""

    data: bytes

    @property
    def size(self) -> int:
        """See `Content`."""
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the bytes."""
        yield BytesReader(self.data)


class PatchedReader(Struct, frozen=True):
    """Another reader's bytes with patches laid over them."""

    base: Reader
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """See `Reader`."""
        return self.base.size

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        data = self.base.pread(offset, length)
        at, end = offset, offset + len(data)
        parts: list[bytes | memoryview] = []
        for patch in self.patches:
            if patch.offset < end and patch.end > offset:
                first, last = max(patch.offset, offset), min(patch.end, end)
                parts.append(memoryview(data)[at - offset : first - offset])
                parts.append(patch.data[first - patch.offset : last - patch.offset])
                at = last
        return b"".join([*parts, memoryview(data)[at - offset :]]) if parts else data


class PatchedContent(Struct, frozen=True):
    """Another content with patches, sorted and disjoint, laid over its bytes."""

    base: Content
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """See `Content`."""
        return self.base.size

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the base with the patches over it."""
        with self.base.open() as base:
            yield PatchedReader(base, self.patches)


def read_chunks(reader: Reader, where: str = "") -> Iterator[bytes]:
    """All bytes of ``reader``, in pieces of at most `CHUNK` bytes.

    Args:
        reader: what to read.
        where: its name, for the message.

    Raises:
        BundleFixError: the bytes end before the size that was promised.
    """
    offset = 0
    while offset < reader.size:
        piece = reader.pread(offset, min(CHUNK, reader.size - offset))
        if not piece:
            raise BundleFixError(
                "the file became shorter while it was read", where=where, hint="run again"
            )
        offset += len(piece)
        yield piece


def read_exactly(reader: Reader, offset: int, length: int) -> bytes | None:
    """``length`` bytes from ``offset``, or None where the content does not hold so many."""
    if offset < 0 or length < 0 or offset + length > reader.size:
        return None
    data = reader.pread(offset, length)
    return data if len(data) == length else None


def has_same_bytes(one: Content, other: Content) -> bool:
    """Whether two contents hold the same bytes."""
    if one.size != other.size:
        return False
    with one.open() as left, other.open() as right:
        return all(a == b for a, b in zip(read_chunks(left), read_chunks(right), strict=True))
