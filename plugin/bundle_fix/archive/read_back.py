"""Verification of an archive while it is written: a thread reads it back and computes a CRC-32.

It follows the writer closely, so that the verification takes almost no extra time: when the last
byte is written, nearly all others have been read back and decompressed.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, cast

from isal import isal_zlib

from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from typing_extensions import Buffer


FLUSH_INTERVAL = 16 << 20
"""Bytes between two calls of fdatasync(2)."""


class _GrowingFile(io.RawIOBase):
    """A file that another thread is still writing.

    Args:
        fd: the file.
        wait_for_bytes: returns the number of bytes after an offset, at least one before the end.
    """

    def __init__(self, fd: int, wait_for_bytes: Callable[[int], int]) -> None:
        self._fd, self._wait_for_bytes = fd, wait_for_bytes
        self._offset = 0

    def readable(self) -> bool:
        """Return True, as `io.BufferedReader` requires."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Wait for at least one byte; return the number of bytes read, 0 at the end."""
        with memoryview(buffer) as view:
            length = min(self._wait_for_bytes(self._offset), len(view))
            count = os.preadv(self._fd, [view[:length]], self._offset)
        if self._offset // FLUSH_INTERVAL != (self._offset + count) // FLUSH_INTERVAL:
            # Flush while the archive is written; otherwise the final fsync(2) waits for all of it.
            os.fdatasync(self._fd)
        self._offset += count
        return count


class ReadBack:
    """A writer to a file with a thread that reads the written bytes back; a context manager.

    Args:
        fd: the file, open for reading and writing.
        decompress: wraps the file in a decompressing stream; None to compare the raw bytes.
        where: the artifact's name, for messages.
    """

    def __init__(
        self, fd: int, decompress: Callable[[IO[bytes]], IO[bytes]] | None, where: str
    ) -> None:
        self._fd, self._decompress, self._where = fd, decompress, where
        self._condition = threading.Condition()
        self._written = 0
        self._is_complete = False
        self._size = self._crc = 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read_all, daemon=True)

    def __enter__(self) -> ReadBack:
        self._thread.start()
        return self

    def write(self, data: bytes) -> int:
        """Write ``data`` at the end of the file."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        with self._condition:
            self._written += len(data)
            self._condition.notify()
        return len(data)

    def flush(self) -> None:
        """Do nothing: the writer has no buffer, but compressors call this method."""

    def compare(self, size: int, crc: int) -> None:
        """Mark the file as complete and compare size and CRC-32 of the bytes read back.

        Raises:
            BundleFixError: they differ, or the file cannot be decompressed.
            OSError: reading or flushing failed, for instance because a quota is exceeded.
        """
        self._finish_reading()
        is_os_error = isinstance(self._error, OSError) and self._error.errno is not None
        if self._error is not None and (is_os_error or isinstance(self._error, MemoryError)):
            raise self._error
        if self._error is not None or (self._size, self._crc) != (size, crc):
            raise BundleFixError(
                "the bytes on the disk differ from those written", where=self._where,
                hint="check the disk",
            ) from self._error  # fmt: skip

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish_reading()

    def _finish_reading(self) -> None:
        """Mark the file as complete and wait until the thread has read all of it."""
        with self._condition:
            self._is_complete = True
            self._condition.notify()
        self._thread.join()

    def _wait_for_bytes(self, offset: int) -> int:
        """Wait for bytes after ``offset`` and return their number, 0 at the end of the file."""
        with self._condition:
            while self._written == offset and not self._is_complete:
                self._condition.wait()
            return self._written - offset

    def _read_all(self) -> None:
        """Read and decompress the file up to its end; run in the thread."""
        file = cast(IO[bytes], _GrowingFile(self._fd, self._wait_for_bytes))
        try:
            stream = self._decompress(file) if self._decompress else file
            while chunk := stream.read(CHUNK):
                self._crc = isal_zlib.crc32(chunk, self._crc)
                self._size += len(chunk)
        except Exception as error:
            # `compare` raises it in the thread of the writer.
            self._error = error
