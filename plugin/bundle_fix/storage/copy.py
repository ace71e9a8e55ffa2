"""Bytes copied by the kernel: holes stay holes, and a file system that can shares the blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from bundle_fix.model.content import CHUNK, FileReader, PatchedReader, Reader, read_chunks
from bundle_fix.model.errors import BundleFixError

STEP = 1 << 30
"""Bytes that the kernel is asked to copy at a time."""
NOT_HERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
"""What copy_file_range(2) says where file systems or kernels cannot do it."""


def copy_bytes(reader: Reader, fd: int, where: str = "") -> None:
    """Write all bytes of ``reader`` into an empty open file.

    Args:
        reader: what to read.
        fd: the file; it must allow writing.
        where: its name, for the message.

    Raises:
        BundleFixError: the bytes end before the size that was promised.
    """
    if isinstance(reader, PatchedReader):
        copy_bytes(reader.base, fd, where)
        for patch in reader.patches:
            write_at(fd, patch.data, patch.offset)
    elif isinstance(reader, FileReader):
        os.ftruncate(fd, reader.size)
        for start, end in _data(reader):
            _copy_range(reader, fd, start, end, where)
    else:
        os.ftruncate(fd, reader.size)
        at = 0
        for piece in read_chunks(reader, where):
            if piece.strip(b"\0"):
                write_at(fd, piece, at)
            at += len(piece)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def _data(reader: FileReader) -> Iterator[tuple[int, int]]:
    """Where ``reader`` has data, from offset to offset; the rest are holes (lseek(2))."""
    at, end = 0, reader.size
    position = os.lseek(reader.fd, 0, os.SEEK_CUR)
    try:
        while at < end:
            try:
                start = os.lseek(reader.fd, reader.start + at, os.SEEK_DATA) - reader.start
                stop = os.lseek(reader.fd, reader.start + start, os.SEEK_HOLE) - reader.start
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                start, stop = at, end
            if start >= end:
                return
            yield start, min(stop, end)
            at = stop
    finally:
        os.lseek(reader.fd, position, os.SEEK_SET)


def _copy_range(reader: FileReader, fd: int, start: int, end: int, where: str) -> None:
    by_kernel = True
    while start < end:
        if by_kernel:
            try:
                length = min(STEP, end - start)
                done = os.copy_file_range(reader.fd, fd, length, reader.start + start, start)
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                by_kernel = False
                continue
        else:
            piece = reader.pread(start, min(CHUNK, end - start))
            write_at(fd, piece, start)
            done = len(piece)
        if not done:
            raise BundleFixError(
                "the file became shorter while it was read", where=where, hint="run again"
            )
        start += done
