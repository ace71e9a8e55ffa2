"""Contents of files: on disk, in a slice of an archive or in memory.

Nothing is copied until it is written: a 400 MB library in an archive is an offset and a size here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError, build_os_error

CHUNK = 1 << 20
"""Bytes that are read at a time when content is streamed."""


class Reader(Protocol):
    """Random access to bytes that do not change while it is open."""

    @property
    def size(self) -> int:
        """Number of bytes that can be read."""

    def pread(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, or fewer at the end of the content."""


class SliceableReader(Reader, Protocol):
    """A reader that can be opened in slices, such as the members of an archive."""

    def open_slice(self, start: int, size: int) -> AbstractContextManager[Reader]:
        """Open the ``size`` bytes at ``start``."""


class Content(Protocol):
    """The bytes of one file, wherever they are stored."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def open(self) -> AbstractContextManager[Reader]:
        """Open the bytes for reading."""


@runtime_checkable
class ModeHeader(Content, Protocol):
    """A member's header that remains valid if only the mode of the member changes."""

    def with_mode(self, mode: int) -> Content:
        """Return the header with other permission bits."""


class FileReader(Struct, frozen=True):
    """Reader of the ``size`` bytes at ``start`` of an open file."""

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
    def open_slice(self, start: int, size: int) -> Iterator[Reader]:
        """See `SliceableReader`."""
        yield FileReader(self.fd, self.start + start, size)


class PathContent(Struct, frozen=True):
    """A regular file on disk; opening it follows no symlink and does not block on a FIFO.

    Attributes:
        path: its path.
        size: its size in bytes.
        identity: its inode and modification time in nanoseconds when it was first seen, or None.
            A file with another identity is not read.
    """

    path: Path
    size: int
    identity: tuple[int, int] | None = None

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the file.

        Raises:
            BundleFixError: it cannot be read, is not a regular file, or has changed.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise build_os_error("cannot read the file", error, where=str(self.path)) from error
        try:
            before = os.fstat(fd)
            identity = _get_inode_and_mtime(before)
            is_same = before.st_size == self.size and self.identity in (None, identity)
            if not (is_same and stat.S_ISREG(before.st_mode)):
                raise self._make_changed_error()
            yield FileReader(fd, 0, self.size)
            after = os.fstat(fd)
            if (after.st_size, after.st_mtime_ns) != (self.size, before.st_mtime_ns):
                raise self._make_changed_error()
        finally:
            os.close(fd)

    def _make_changed_error(self) -> BundleFixError:
        return BundleFixError(
            "the file changed while it was read", where=str(self.path), hint="run again"
        )


def make_path_content(path: Path, status: os.stat_result | None = None) -> PathContent:
    """Return the content of the file at ``path``, as it is now or was at the time of ``status``.

    Raises:
        OSError: the file does not exist.
    """
    status = status or path.lstat()
    return PathContent(path, status.st_size, _get_inode_and_mtime(status))


def _get_inode_and_mtime(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


class FileSlice(Struct, frozen=True):
    """The ``size`` bytes at ``start`` of a file that its owner keeps open."""

    fd: int
    start: int
    size: int

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the slice; the file's owner closes the file."""
        yield FileReader(self.fd, self.start, self.size)


class ArchiveSlice(Struct, frozen=True):
    """The ``size`` bytes at ``start`` of an archive that its owner keeps open."""

    archive: SliceableReader
    start: int
    size: int

    def open(self) -> AbstractContextManager[Reader]:
        """Open the slice; the archive's owner closes the archive."""
        return self.archive.open_slice(self.start, self.size)


class SliceReader(Struct, frozen=True):
    """Reader of the ``size`` bytes at ``start`` of another reader."""

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
    """Reader of bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """See `Reader`."""
        return len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        return self.data[offset : offset + length] if offset >= 0 and length > 0 else b""


class BytesContent(Struct, frozen=True):
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """See `Content`."""
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the bytes."""
        yield BytesReader(self.data)


def read_chunks(reader: Reader, where: str = "") -> Iterator[bytes]:
    """Yield all bytes of ``reader``, at most `CHUNK` at a time.

    Args:
        reader: the bytes to read.
        where: the file's name, for the error.

    Raises:
        BundleFixError: fewer bytes can be read than the size says.
    """
    offset = 0
    while offset < reader.size:
        chunk = reader.pread(offset, min(CHUNK, reader.size - offset))
        if not chunk:
            raise BundleFixError(
                "the file became shorter while it was read", where=where, hint="run again"
            )
        offset += len(chunk)
        yield chunk


def read_exactly(reader: Reader, offset: int, length: int) -> bytes | None:
    """Return ``length`` bytes from ``offset``, or None if the content ends before that."""
    if offset < 0 or length < 0 or offset + length > reader.size:
        return None
    data = reader.pread(offset, length)
    return data if len(data) == length else None


def has_same_bytes(one: Content, other: Content) -> bool:
    """Return whether two contents are equal byte for byte."""
    if one.size != other.size:
        return False
    with one.open() as left, other.open() as right:
        return all(a == b for a, b in zip(read_chunks(left), read_chunks(right), strict=True))
