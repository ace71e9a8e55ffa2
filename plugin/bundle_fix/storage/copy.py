"""Copies by the kernel (copy_file_range(2)): holes are kept, and reflinks are used if possible."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from bundle_fix.model.content import CHUNK, FileReader, Reader, read_chunks
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import PatchedReader

MAX_COPY = 1 << 30
"""Bytes copied by one system call, below the limit of the kernel (2 GiB)."""
COPY_UNSUPPORTED = {
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EPERM,
}
"""Errors of copy_file_range(2) if the file systems or the kernel do not support it."""


def copy_bytes(reader: Reader, fd: int, where: str = "") -> None:
    """Write all bytes of ``reader`` into an empty open file.

    Args:
        reader: the bytes to copy.
        fd: the file, open for writing.
        where: the name of the source, for messages.

    Raises:
        BundleFixError: the source has fewer bytes than ``reader.size``.
    """
    if isinstance(reader, PatchedReader):
        copy_bytes(reader.base, fd, where)
        for patch in reader.patches:
            write_at(fd, patch.data, patch.offset)
    elif isinstance(reader, FileReader):
        os.ftruncate(fd, reader.size)
        for start, end in _find_data_ranges(reader):
            _copy_range(reader, fd, start, end, where)
    else:
        os.ftruncate(fd, reader.size)
        offset = 0
        for chunk in read_chunks(reader, where):
            # Zeros are not written: after ftruncate(2) they are a hole.
            if chunk.strip(b"\0"):
                write_at(fd, chunk, offset)
            offset += len(chunk)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _find_data_ranges(reader: FileReader) -> Iterator[tuple[int, int]]:
    """Yield the start and end offset of each range with data; the rest are holes (lseek(2))."""
    offset, end = 0, reader.size
    position = os.lseek(reader.fd, 0, os.SEEK_CUR)
    try:
        while offset < end:
            try:
                start = os.lseek(reader.fd, reader.start + offset, os.SEEK_DATA) - reader.start
                stop = os.lseek(reader.fd, reader.start + start, os.SEEK_HOLE) - reader.start
            except OSError as error:
                # ENXIO: no data after the offset. Otherwise the file system has no SEEK_DATA.
                if error.errno == errno.ENXIO:
                    return
                start, stop = offset, end
            if start >= end:
                return
            yield start, min(stop, end)
            offset = stop
    finally:
        os.lseek(reader.fd, position, os.SEEK_SET)


def _copy_range(reader: FileReader, fd: int, start: int, end: int, where: str) -> None:
    """Copy the bytes from ``start`` to ``end``, in this process if the kernel cannot."""
    # Python for a glibc before 2.27 has no such function.
    by_kernel = hasattr(os, "copy_file_range")
    while start < end:
        if by_kernel:
            try:
                length = min(MAX_COPY, end - start)
                copied = os.copy_file_range(reader.fd, fd, length, reader.start + start, start)
            except OSError as error:
                if error.errno not in COPY_UNSUPPORTED:
                    raise
                by_kernel = False
                continue
        else:
            chunk = reader.pread(start, min(CHUNK, end - start))
            write_at(fd, chunk, start)
            copied = len(chunk)
        if not copied:
            raise BundleFixError(
                "the file became shorter while it was read", where=where, hint="run again"
            )
        start += copied
