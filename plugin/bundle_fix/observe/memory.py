"""The memory of a process, live or dumped: readers whose offsets are addresses."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from struct import Struct as Layout

import msgspec

from bundle_fix.elf.read.structs import Format
from bundle_fix.model.content import Reader, read_exactly

ADDRESS_SPACE = 1 << 64
"""The size of a memory: each address of 64 bits is an offset."""
MAX_TEXT = 1 << 17
"""Limit of one string in memory, in bytes: that of a variable (MAX_ARG_STRLEN)."""


class ProcessMemory(msgspec.Struct, frozen=True):
    """The memory of a running process; ``fd`` is its open ``/proc/PID/mem``."""

    fd: int
    size: int = ADDRESS_SPACE

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`; fewer bytes before a page that is not mapped."""
        try:
            return os.pread(self.fd, length, offset)
        # OverflowError: the kernel's half of the address space, which off_t does not reach.
        except (OSError, OverflowError, ValueError):
            return b""


class DumpedMemory(msgspec.Struct, frozen=True):
    """The memory in a core file, by the PT_LOAD segments that have bytes in the file.

    The three arrays have one item per segment and are sorted by address: a process may have
    100,000 mappings.
    """

    file: Reader
    starts: array[int]
    offsets: array[int]
    sizes: array[int]
    size: int = ADDRESS_SPACE

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`; fewer bytes before a page that was not dumped."""
        pieces: list[bytes] = []
        while length > 0:
            index = bisect_right(self.starts, offset) - 1
            if index < 0 or offset >= self.starts[index] + self.sizes[index]:
                break
            start = offset - self.starts[index]
            size = min(length, self.sizes[index] - start)
            piece = self.file.pread(self.offsets[index] + start, size)
            pieces.append(piece)
            if len(piece) < size:
                break
            offset, length = offset + size, length - size
        return b"".join(pieces)

    def iter_segments(self, start: int, limit: int) -> Iterator[tuple[int, bytes]]:
        """Yield address and bytes of segments from ``start`` on, ``limit`` bytes in total."""
        for index in range(bisect_left(self.starts, start), len(self.starts)):
            data = self.pread(self.starts[index], min(self.sizes[index], limit))
            limit -= len(data)
            yield self.starts[index], data
            if limit <= 0:
                return


def read_words(memory: Reader, layout: Format, address: int, count: int) -> tuple[int, ...] | None:
    """Return ``count`` words (of the size of an address) at ``address``, or None."""
    data = read_exactly(memory, address, count * layout.word.size)
    if data is None:
        return None
    return tuple(word for (word,) in layout.word.iter_unpack(data))


def read_int(memory: Reader, layout: Format, address: int) -> int | None:
    """Return the C ``int`` at ``address``, or None."""
    data = read_exactly(memory, address, 4)
    return None if data is None else int(Layout(layout.mark + "i").unpack(data)[0])


def read_text(memory: Reader, address: int, limit: int = MAX_TEXT) -> str | None:
    """Return the string at ``address``, or None if it cannot be read or exceeds ``limit``."""
    for size in (256, limit):
        found = memory.pread(address, size)
        text, end, _ = found.partition(b"\0")
        if end:
            return os.fsdecode(text)
    return None
