"""Compressed files of several streams, one behind the other, read as one in bounded memory.

Python's own readers take as much memory as a stream asks for, any number of empty streams, of which
each costs what a large one does to begin with, and no padding between the streams of an xz file.

Sources: the .xz file format, 2.2, "Stream Padding": zero bytes, a multiple of four; RFC 8878
(zstd), 3.1.1.1.2, "Window Descriptor".
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable
from typing import IO, NamedTuple, Protocol

STEP = 1 << 18
"""Bytes read, and given to a decompressor, at a time."""
FIRST_STEP = 1 << 10
"""Bytes of a stream that are given to its decompressor first: what it does not want is a copy."""
HEAD = 1 << 11
"""Bytes at the start of a stream that say what it takes to unpack it."""
MEMORY = 256 << 20
"""Bytes of memory that a stream may take, and that may be in one that would take more."""
MANY, LEAST = 10_000, 64
"""Streams from which on there must be so many bytes in one, on the average."""


class StreamError(Exception):
    """To unpack a stream takes too much memory, or time; the text says which."""


class Decompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was met."""

    @property
    def needs_input(self) -> bool:
        """Whether it has nothing more to give for what it was given."""

    @property
    def unused_data(self) -> bytes:
        """What it was given behind the end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Up to ``max_length`` bytes."""


class StreamFormat(NamedTuple):
    """What the streams of a format are like.

    Attributes:
        begin: makes the decompressor of one, which takes no more memory than told, or any if None.
        padded: whether zeros may stand behind one.
        ignored: what a decompressor raises over what stands behind the last one and is passed over.
    """

    begin: Callable[[int | None], Decompressor]
    padded: bool = False
    ignored: tuple[type[Exception], ...] = ()


class MultiStreamReader(io.RawIOBase):
    """The streams of a file, one behind the other, as one.

    Raises:
        EOFError: the file ends within a stream.
        StreamError: a stream takes too much memory, or there are too many with nothing in them.
        lzma.LZMAError: what stands behind a stream is no padding.
        Exception: of the decompressor's own kind: what is there is no stream, or is damaged.
    """

    def __init__(self, path: str | IO[bytes], form: StreamFormat) -> None:
        self._file = open(path, "rb") if isinstance(path, str) else path  # noqa: SIM115, PTH123
        self._owned = isinstance(path, str)
        self._form = form
        self._stream: Decompressor | None = None
        self._read, self._at = b"", 0
        self._step = FIRST_STEP
        self._room: int | None = None
        self._begun = self._given = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, or all; none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(STEP), b""))
        while self._stream or self._begin():
            stream = self._stream
            assert stream is not None  # noqa: S101 (for the type checker)
            data = b""
            if stream.needs_input:
                data = self._take()
                if not data:
                    raise EOFError("the file ends within a stream")
            piece = stream.decompress(data, size)
            if stream.eof:
                self._at -= len(stream.unused_data)
                self._stream = None
            if piece:
                return self._counted(piece)
        return b""

    def _take(self) -> bytes:
        """The next bytes of a stream: the more, the longer it is."""
        if self._at == len(self._read):
            self._read, self._at = self._file.read(STEP), 0
        data = self._read[self._at : self._at + self._step]
        self._at += len(data)
        self._step = min(4 * self._step, STEP)
        return data

    def _counted(self, piece: bytes) -> bytes:
        self._given += len(piece)
        if self._room is not None:
            self._room -= len(piece)
            if self._room < 0:
                raise StreamError(f"to unpack it takes more than {MEMORY >> 20} MiB of memory")
        return piece

    def _begin(self) -> bool:
        """Begin with the next stream, if there is one."""
        if self._begun > MANY and self._given < self._begun * LEAST:
            raise StreamError("it consists of streams with next to nothing in them")
        if self._form.padded and self._begun:
            self._pass_padding()
        head = self._head()
        if not head:
            return False
        self._room = None
        try:
            self._form.begin(MEMORY).decompress(head, 1)
        except Exception as error:
            if self._begun and isinstance(error, self._form.ignored):
                return False
            # Should it be damaged instead, whoever reads on is told.
            self._room = MEMORY
        self._stream, self._step = self._form.begin(None), FIRST_STEP
        self._begun += 1
        return True

    def _head(self) -> bytes:
        while len(self._read) - self._at < HEAD and (more := self._file.read(STEP)):
            self._read, self._at = self._read[self._at :] + more, 0
        return self._read[self._at : self._at + HEAD]

    def _pass_padding(self) -> None:
        padding = 0
        while True:
            if self._at == len(self._read):
                self._read, self._at = self._file.read(STEP), 0
            rest = self._read[self._at :].lstrip(b"\0")
            padding += len(self._read) - self._at - len(rest)
            self._at = len(self._read) - len(rest)
            if rest or not self._read:
                break
        if padding % 4:
            raise lzma.LZMAError("what stands behind a stream is no padding")

    def close(self) -> None:
        """Close the file, unless it is its owner's."""
        if self._owned and not self.closed:
            self._file.close()
        super().close()
