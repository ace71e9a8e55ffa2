"""A sequence of contents, read as one stream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

from bundle_fix.model.content import Content, Reader, SliceReader


class Concatenation:
    """Reader of the bytes of all ``contents`` in order; nothing is copied. They must stay open."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents
        self._starts = list(accumulate((c.size for c in contents), initial=0))
        self.size = self._starts.pop()

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        length = min(length, self.size - offset)
        chunks = []
        while offset >= 0 and length > 0:
            index = self._find_content(offset)
            with self._contents[index].open() as reader:
                chunk = reader.pread(offset - self._starts[index], length)
            if not chunk:
                break
            chunks.append(chunk)
            offset, length = offset + len(chunk), length - len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @contextmanager
    def open_slice(self, start: int, size: int) -> Iterator[Reader]:
        """See `SliceableReader`; a slice of one content opens that content only once."""
        index = self._find_content(start) if start < self.size else 0
        content, inside = self._contents[index], start - self._starts[index]
        if size and inside + size <= content.size:
            with content.open() as reader:
                yield SliceReader(reader, inside, size)
        else:
            yield SliceReader(self, start, size)

    def find_whole(self, start: int, size: int) -> Content | None:
        """Return the content that consists of exactly the bytes at ``start``, or None."""
        index = self._find_content(start) if start < self.size else 0
        content = self._contents[index]
        return content if (self._starts[index], content.size) == (start, size) else None

    def _find_content(self, offset: int) -> int:
        """Return the index of the content with the byte at ``offset``; it is never empty."""
        return bisect_right(self._starts, offset) - 1
