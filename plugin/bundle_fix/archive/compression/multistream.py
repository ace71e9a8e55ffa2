"""Reader of compressed files with several concatenated streams, in bounded memory and time.

Python's own readers allocate as much memory as a stream demands, accept any number of empty
streams, each of which costs as much to start as a large one, and refuse padding between the
streams of an xz file.

Sources: the .xz file format, 2.2, "Stream Padding": zero bytes, a multiple of four; RFC 8878
(zstd), 3.1.1.1.2, "Window Descriptor".
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable
from typing import IO, NamedTuple, Protocol

READ_SIZE = 1 << 18
"""Bytes that are read, and passed to a decompressor, at a time."""
FIRST_INPUT_SIZE = 1 << 10
"""Bytes of a stream that its decompressor gets first: those it does not use are copied back."""
HEAD_SIZE = 1 << 11
"""Bytes at the start of a stream that contain its demand for memory."""
MAX_MEMORY = 256 << 20
"""Bytes of memory that a stream may demand. One that demands more, such as zstd --long=31, is
accepted as long as its decompressed size is less: then most of its window stays unused."""
MANY_STREAMS, MIN_AVERAGE_SIZE = 10_000, 64
"""After that many streams, their average size must be at least so many bytes."""


class StreamError(Exception):
    """A stream takes too much memory or time to decompress; the text says which."""


class Decompressor(Protocol):
    """The common interface of the decompressors of bz2, lzma and zstd."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the stream has been reached."""

    @property
    def needs_input(self) -> bool:
        """Return whether `decompress` needs more input to return more output."""

    @property
    def unused_data(self) -> bytes:
        """Return the input after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return up to ``max_length`` decompressed bytes."""


class StreamFormat(NamedTuple):
    """The properties of a format's streams.

    Attributes:
        make_decompressor: makes the decompressor of one stream, which raises an exception if the
            stream demands more than so many bytes of memory (None: any number).
        padded: whether zeros are allowed after a stream.
        ignored: the exceptions of a decompressor for bytes after the last stream that are ignored.
    """

    make_decompressor: Callable[[int | None], Decompressor]
    padded: bool = False
    ignored: tuple[type[Exception], ...] = ()


class MultiStreamReader(io.RawIOBase):
    """Decompressing reader of all streams of a file.

    Raises:
        EOFError: the file ends within a stream.
        StreamError: a stream demands too much memory, or too many are almost empty.
        lzma.LZMAError: the padding after a stream is invalid.
        Exception: an exception of the decompressor's own type: the data is damaged.
    """

    def __init__(self, path: str | IO[bytes], stream_format: StreamFormat) -> None:
        self._file = open(path, "rb") if isinstance(path, str) else path  # noqa: SIM115, PTH123
        self._owns_file = isinstance(path, str)
        self._format = stream_format
        self._stream: Decompressor | None = None
        self._buffer, self._at = b"", 0
        self._input_size = FIRST_INPUT_SIZE
        # Output that the current stream may still produce; None if its memory is bounded.
        self._allowance: int | None = None
        self._stream_count = self._output_size = 0

    def readable(self) -> bool:
        """Return True; see `io.IOBase`."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, or all if it is negative; none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(READ_SIZE), b""))
        while self._stream or self._start_stream():
            stream = self._stream
            assert stream is not None  # noqa: S101 (for the type checker)
            data = b""
            if stream.needs_input:
                data = self._take_input()
                if not data:
                    raise EOFError("the file ends within a stream")
            output = stream.decompress(data, size)
            if stream.eof:
                self._at -= len(stream.unused_data)
                self._stream = None
            if output:
                self._count_output(len(output))
                return output
        return b""

    def _take_input(self) -> bytes:
        """Return the next input of a stream; its size grows with the stream."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._file.read(READ_SIZE), 0
        data = self._buffer[self._at : self._at + self._input_size]
        self._at += len(data)
        self._input_size = min(4 * self._input_size, READ_SIZE)
        return data

    def _count_output(self, size: int) -> None:
        """Raise a StreamError if a stream with a large window has filled too much of it."""
        self._output_size += size
        if self._allowance is not None:
            self._allowance -= size
            if self._allowance < 0:
                raise StreamError(
                    f"decompressing it takes more than {MAX_MEMORY >> 20} MiB of memory"
                )

    def _start_stream(self) -> bool:
        """Start the next stream; return False at the end of the file."""
        count = self._stream_count
        if count > MANY_STREAMS and self._output_size < count * MIN_AVERAGE_SIZE:
            raise StreamError(
                f"it consists of more than {MANY_STREAMS} streams, which have less than"
                f" {MIN_AVERAGE_SIZE} bytes on average"
            )
        if self._format.padded and count:
            self._skip_padding()
        head = self._peek_head()
        if not head:
            return False
        self._allowance = None
        try:
            self._format.make_decompressor(MAX_MEMORY).decompress(head, 1)
        except Exception as error:
            if count and isinstance(error, self._format.ignored):
                return False
            # The stream demands more memory, or is damaged. If it is damaged, reading it fails.
            self._allowance = MAX_MEMORY
        self._stream, self._input_size = self._format.make_decompressor(None), FIRST_INPUT_SIZE
        self._stream_count += 1
        return True

    def _peek_head(self) -> bytes:
        """Return the first bytes of the next stream without consuming them."""
        while len(self._buffer) - self._at < HEAD_SIZE and (more := self._file.read(READ_SIZE)):
            self._buffer, self._at = self._buffer[self._at :] + more, 0
        return self._buffer[self._at : self._at + HEAD_SIZE]

    def _skip_padding(self) -> None:
        padding = 0
        while True:
            if self._at == len(self._buffer):
                self._buffer, self._at = self._file.read(READ_SIZE), 0
            rest = self._buffer[self._at :].lstrip(b"\0")
            padding += len(self._buffer) - self._at - len(rest)
            self._at = len(self._buffer) - len(rest)
            if rest or not self._buffer:
                break
        if padding % 4:
            raise lzma.LZMAError(f"invalid stream padding of {padding} bytes")

    def close(self) -> None:
        """Close the file if this reader has opened it."""
        if self._owns_file and not self.closed:
            self._file.close()
        super().close()
