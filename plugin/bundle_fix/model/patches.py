"""Contents with changes over them: bytes replaced, or bytes inserted.

An edited library is the library that was read, plus a few patches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from msgspec import Struct

from bundle_fix.model.content import Content, Reader


class Patch(NamedTuple):
    """Bytes that replace the same number of bytes at ``offset``."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset of the first byte after the patch."""
        return self.offset + len(self.data)


def overlay_patches(below: Iterable[Patch], above: Iterable[Patch]) -> tuple[Patch, ...]:
    """Return patches, sorted and disjoint, with the effect of ``below`` and then ``above``.

    Patches in one of the two lists do not overlap each other.
    """
    merged = sorted(above)
    covers = list(merged)
    for patch in below:
        start = patch.offset
        for cover in covers:
            if cover.offset < patch.end and cover.end > start:
                if start < cover.offset:
                    head = patch.data[start - patch.offset : cover.offset - patch.offset]
                    merged.append(Patch(start, head))
                start = min(cover.end, patch.end)
        if start < patch.end:
            merged.append(Patch(start, patch.data[start - patch.offset :]))
    return tuple(sorted(merged))


class PatchedReader(Struct, frozen=True):
    """Reader of another reader's bytes with patches applied, which are sorted and disjoint."""

    base: Reader
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """See `Reader`."""
        return self.base.size

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        data = self.base.pread(offset, length)
        at, end = offset, offset + len(data)
        parts: list[bytes | memoryview] = []
        for patch in self.patches:
            if patch.offset < end and patch.end > offset:
                first, last = max(patch.offset, offset), min(patch.end, end)
                parts.append(memoryview(data)[at - offset : first - offset])
                parts.append(patch.data[first - patch.offset : last - patch.offset])
                at = last
        return b"".join([*parts, memoryview(data)[at - offset :]]) if parts else data


class PatchedContent(Struct, frozen=True):
    """Another content with patches applied, which are sorted and disjoint."""

    base: Content
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """See `Content`."""
        return self.base.size

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the base and apply the patches while it is read."""
        with self.base.open() as base:
            yield PatchedReader(base, self.patches)


class Insertion(NamedTuple):
    """Bytes to insert at ``offset``: ``zeros`` zeros, then ``data``, then zeros up to ``size``."""

    offset: int
    zeros: int
    data: bytes
    size: int


class InsertedReader(Struct, frozen=True):
    """Reader of another reader's bytes with bytes inserted."""

    base: Reader
    insertion: Insertion

    @property
    def size(self) -> int:
        """See `Reader`."""
        return self.base.size + self.insertion.size

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        new = self.insertion
        start, end = new.offset, new.offset + new.size
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        if offset >= end:
            return self.base.pread(offset - new.size, length)
        before = self.base.pread(offset, min(length, start - offset)) if offset < start else b""
        if offset + length <= start:
            return before
        first, last = max(offset, start) - start, min(offset + length, end) - start
        data = new.data[max(0, first - new.zeros) : max(0, last - new.zeros)]
        inserted = bytes(max(0, min(last, new.zeros) - first)) + data
        parts = before, inserted.ljust(last - first, b"\0")
        return b"".join((*parts, self.base.pread(start, max(0, offset + length - end))))


class InsertedContent(Struct, frozen=True):
    """Another content with bytes inserted."""

    base: Content
    insertion: Insertion

    @property
    def size(self) -> int:
        """See `Content`."""
        return self.base.size + self.insertion.size

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the base and insert the bytes while it is read."""
        with self.base.open() as base:
            yield InsertedReader(base, self.insertion)
