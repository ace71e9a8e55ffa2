"""Compressed streams made of pieces that all processors encode at once, written in their order.

Where the pieces are cut depends on the data alone, so that the same data make the same bytes on any
machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, NamedTuple

from isal import isal_zlib
from msgspec import Struct

from bundle_fix.subprocesses.processors import count_cores


class Encoded(NamedTuple):
    """An encoded piece, and the size of it that the format counts."""

    data: bytes
    counted: int


class Piece(NamedTuple):
    """What became of one piece: its size before, and the size that the format counts."""

    size: int
    counted: int


class Framing(Struct, frozen=True):
    """A format: the bytes of a piece, how it is encoded, and what stands before and behind all.

    Attributes:
        size: bytes of a piece; the last one may have fewer.
        start: what the file starts with.
        encode: makes the encoded piece of the bytes of one, told whether it is the last.
        end: makes what the file ends with of the CRC-32 of all bytes and of all pieces.
        threads: how many pieces are encoded at once at most: each takes memory.
    """

    size: int
    start: bytes
    encode: Callable[[bytes, bool], Encoded]
    end: Callable[[int, Sequence[Piece]], bytes]
    threads: int = 16


class PieceStream:
    """Takes bytes and writes them to ``file`` as ``framing`` says; a context that ends the file."""

    def __init__(self, file: IO[bytes], framing: Framing) -> None:
        self.file, self.framing = file, framing
        self.waiting: list[memoryview] = []
        self.room = framing.size
        self.running: deque[tuple[int, Future[Encoded]]] = deque()
        self.pieces: list[Piece] = []
        self.crc = 0
        self.threads = ThreadPoolExecutor(self._at_once)

    def __enter__(self) -> PieceStream:
        self.file.write(self.framing.start)
        return self

    def write(self, data: bytes) -> int:
        """Take ``data``; waits while enough of it is under way."""
        self.crc = isal_zlib.crc32(data, self.crc)
        rest = memoryview(data)
        # One byte more, so that the last piece has something in it.
        while len(rest) > self.room:
            self.waiting.append(rest[: self.room])
            rest = rest[self.room :]
            self._encode(last=False)
        self.waiting.append(rest)
        self.room -= len(rest)
        return len(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._encode(last=True)
                while self.running:
                    self._write_first()
                self.file.write(self.framing.end(self.crc, self.pieces))
        finally:
            self.threads.shutdown(cancel_futures=True)

    def _encode(self, *, last: bool) -> None:
        piece = b"".join(self.waiting)
        self.waiting, self.room = [], self.framing.size
        if last and not self.running:
            # The only one, as most members of a zip archive are: no thread is worth it.
            self._put(len(piece), self.framing.encode(piece, last))
            return
        self.running.append((len(piece), self.threads.submit(self.framing.encode, piece, last)))
        # One more waits for the first thread that is free.
        if len(self.running) > self._at_once + 1:
            self._write_first()

    @property
    def _at_once(self) -> int:
        return min(count_cores(), self.framing.threads)

    def _write_first(self) -> None:
        size, encoded = self.running.popleft()
        self._put(size, encoded.result())

    def _put(self, size: int, encoded: Encoded) -> None:
        self.file.write(encoded.data)
        self.pieces.append(Piece(size, encoded.counted))
