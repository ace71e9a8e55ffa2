"""Reads an archive back from the disk while it is still being written, as soon as bytes are there.

That what was written is what was meant costs next to no time so: when the last byte is written, all
but the last have been read, decompressed if need be, and counted into a CRC-32 already.
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


FLUSHED = 16 << 20
"""Bytes from one time that they are sent to the disk to the next."""


class _Growing(io.RawIOBase):
    """A file of which ``bytes_after`` says how many bytes it has behind an offset."""

    def __init__(self, fd: int, bytes_after: Callable[[int], int]) -> None:
        self._fd, self._bytes_after = fd, bytes_after
        self._taken = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """See `io.RawIOBase`: waits for at least one byte, and returns 0 at the end."""
        with memoryview(buffer) as view:
            length = min(self._bytes_after(self._taken), len(view))
            done = os.preadv(self._fd, [view[:length]], self._taken)
        if self._taken // FLUSHED != (self._taken + done) // FLUSHED:
            # Else all of it waits for the disk at the end, when nothing is left to be done beside.
            os.fdatasync(self._fd)
        self._taken += done
        return done


class ReadBack:
    """A thread that reads what `write` has written to a file; a context that compares.

    Args:
        fd: the file, open for both.
        decompress: wraps it in the stream that decompresses; None where the bytes themselves are
            to be compared.
        where: the artifact's name, for messages.
    """

    def __init__(
        self, fd: int, decompress: Callable[[IO[bytes]], IO[bytes]] | None, where: str
    ) -> None:
        self._fd, self._decompress, self._where = fd, decompress, where
        self._there = threading.Condition()
        self._written = 0
        self._complete = False
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
        with self._there:
            self._written += len(data)
            self._there.notify()
        return len(data)

    def flush(self) -> None:
        """Nothing waits here: compressors ask."""

    def compare(self, size: int, crc: int) -> None:
        """See that ``size`` bytes with this CRC-32 were read, once the file is complete.

        Raises:
            BundleFixError: it has not: it was damaged on its way to the disk or back.
            OSError: the file system says so, such as that there is no space after all.
        """
        self._end()
        if isinstance(self._error, OSError) and self._error.errno:
            raise self._error
        if self._error is not None or (self._size, self._crc) != (size, crc):
            raise BundleFixError(
                "what was written is not what is read back", where=self._where,
                hint="the disk may be failing",
            ) from self._error  # fmt: skip

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        with self._there:
            self._complete = True
            self._there.notify()
        self._thread.join()

    def _bytes_after(self, offset: int) -> int:
        """How many bytes there are behind ``offset``, once there are any; none at the end."""
        with self._there:
            while self._written == offset and not self._complete:
                self._there.wait()
            return self._written - offset

    def _read_all(self) -> None:
        file = cast(IO[bytes], _Growing(self._fd, self._bytes_after))
        try:
            stream = self._decompress(file) if self._decompress else file
            while piece := stream.read(CHUNK):
                self._crc = isal_zlib.crc32(piece, self._crc)
                self._size += len(piece)
        except Exception as error:
            self._error = error
