"""Writer of xz files: one stream of blocks that all processors compress at the same time.

Many readers take the end of the first xz stream for the end of the file (Java's commons-compress,
Python's tarfile on a pipe), so the file has one stream. Python's lzma compresses on one processor
only.

Source: the .xz file format 1.2.1.
"""

from __future__ import annotations

import lzma
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from struct import Struct
from types import TracebackType
from typing import IO, NamedTuple

from bundle_fix.subprocesses.processors import count_cores

BLOCK_SIZE = 16 << 20
"""Uncompressed bytes of a block. The cut depends on the data alone, and so does the file."""
PRESET = 6
MAX_THREADS = 4
"""Each needs about 100 MB (xz(1), ``--memlimit``)."""
FLAGS = b"\0\x04"
"""Stream flags: each block ends with a CRC64 (section 2.1.1.2)."""
STREAM_HEADER = b"\xfd7zXZ\0" + FLAGS + zlib.crc32(FLAGS).to_bytes(4, "little")
HEADER_SIZE = 12
"""Bytes of a stream's header, and of its footer."""
FOOTER = Struct("<I2s2s")
INDEX_INDICATOR = b"\0"
"""The first byte of an index (section 4.1)."""


class Block(NamedTuple):
    """A compressed block with the two sizes that the index records."""

    data: bytes
    unpadded_size: int
    size: int


class XzWriter:
    """Context manager that compresses the written bytes into ``file`` and ends the stream."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._buffer = bytearray()
        self._sizes: list[tuple[int, int]] = []
        self._running: deque[Future[Block]] = deque()
        self._threads = min(count_cores(), MAX_THREADS)
        self._pool = ThreadPoolExecutor(self._threads)

    def __enter__(self) -> XzWriter:
        self._file.write(STREAM_HEADER)
        return self

    def write(self, data: bytes) -> int:
        """Compress ``data``; wait while as many blocks as threads are being compressed."""
        self._buffer += data
        while len(self._buffer) >= BLOCK_SIZE:
            self._submit_block(bytes(self._buffer[:BLOCK_SIZE]))
            del self._buffer[:BLOCK_SIZE]
        return len(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._buffer:
                    self._submit_block(bytes(self._buffer))
                while self._running:
                    self._write_oldest_block()
                self._file.write(format_index(self._sizes))
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _submit_block(self, data: bytes) -> None:
        self._running.append(self._pool.submit(compress_block, data))
        if len(self._running) > self._threads:
            self._write_oldest_block()

    def _write_oldest_block(self) -> None:
        block = self._running.popleft().result()
        self._file.write(block.data)
        self._sizes.append((block.unpadded_size, block.size))


def compress_block(data: bytes) -> Block:
    """Compress ``data``, which is not empty, as a stream of its own and return its one block."""
    stream = lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, PRESET)
    backward_size = int.from_bytes(stream[-8:-4], "little")
    index = len(stream) - HEADER_SIZE - (backward_size + 1) * 4
    _, unpadded_size = _decode_integers(stream[index + len(INDEX_INDICATOR) :], 2)
    return Block(stream[HEADER_SIZE:index], unpadded_size, len(data))


def format_index(sizes: list[tuple[int, int]]) -> bytes:
    """Return the index and the footer of a stream whose blocks have these sizes (section 4)."""
    records = b"".join(_encode_integer(n) for pair in sizes for n in pair)
    index = INDEX_INDICATOR + _encode_integer(len(sizes)) + records
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    footer = FOOTER.pack(len(index) // 4 - 1, FLAGS, b"YZ")
    return index + zlib.crc32(footer[:-2]).to_bytes(4, "little") + footer


def _encode_integer(value: int) -> bytes:
    """Return a multibyte integer: seven bits a byte, the lowest first (section 1.2)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _decode_integers(data: bytes, count: int) -> Iterator[int]:
    """Yield the first ``count`` multibyte integers of ``data``."""
    at = 0
    for _ in range(count):
        value = shift = 0
        while data[at] & 0x80:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        yield value | data[at] << shift
        at += 1
