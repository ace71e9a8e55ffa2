"""Contents one behind the other, read as the one stream that they are written as."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

from bundle_fix.model.content import Content, Reader, SliceReader


class Concatenation:
    """The bytes of all ``contents``, which must stay open, in a row; none is copied."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents
        self._starts = list(accumulate((c.size for c in contents), initial=0))
        self.size = self._starts.pop()

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self.size - offset)
        pieces = []
        while offset >= 0 and length > 0:
            number = self._number(offset)
            with self._contents[number].open() as reader:
                piece = reader.pread(offset - self._starts[number], length)
            if not piece:
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @contextmanager
    def open_slice(self, start: int, size: int) -> Iterator[Reader]:
        """See `Whole`; what lies within one content is read with that one open."""
        number = self._number(start) if start < self.size else 0
        content, inside = self._contents[number], start - self._starts[number]
        if size and inside + size <= content.size:
            with content.open() as reader:
                yield SliceReader(reader, inside, size)
        else:
            yield SliceReader(self, start, size)

    def _number(self, offset: int) -> int:
        """Which content has the byte at ``offset``: never an empty one."""
        return bisect_right(self._starts, offset) - 1
