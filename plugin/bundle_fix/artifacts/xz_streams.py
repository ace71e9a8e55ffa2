"""xz files of several streams with padding between and behind them, which Python's reader refuses.

Source: the .xz file format, 2.2, "Stream Padding": zero bytes, a multiple of four.
"""

from __future__ import annotations

import io
import lzma
from typing import IO

STEP = 1 << 18


class XzStreams(io.RawIOBase):
    """The streams of an xz file, one behind the other, as one.

    Raises:
        EOFError: the file ends within a stream.
        lzma.LZMAError: what is there is no xz data, or its checksum is wrong.
    """

    def __init__(self, path: str | IO[bytes]) -> None:
        self._file = open(path, "rb") if isinstance(path, str) else path  # noqa: SIM115, PTH123
        self._owned = isinstance(path, str)
        self._stream: lzma.LZMADecompressor | None = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        self._rest = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, or all; none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(STEP), b""))
        while True:
            if self._stream is None and not self._next():
                return b""
            stream = self._stream
            assert stream is not None  # noqa: S101 (for the type checker)
            data = b""
            if stream.needs_input:
                data = self._rest or self._file.read(STEP)
                self._rest = b""
                if not data:
                    raise EOFError("the file ends within a stream")
            piece = stream.decompress(data, size)
            if stream.eof:
                self._rest, self._stream = stream.unused_data, None
            if piece:
                return piece

    def _next(self) -> bool:
        """Pass over padding to the next stream, if there is one."""
        padding = 0
        while True:
            data = self._rest or self._file.read(STEP)
            self._rest = data.lstrip(b"\0")
            padding += len(data) - len(self._rest)
            if self._rest or not data:
                break
        if padding % 4:
            raise lzma.LZMAError("what stands behind a stream is no padding")
        if self._rest:
            self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        return bool(self._rest)

    def close(self) -> None:
        """Close the file, unless it is its owner's."""
        if self._owned and not self.closed:
            self._file.close()
        super().close()
