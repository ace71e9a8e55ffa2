"""The contents of small segments: notes, GNU properties and the name of the interpreter.

Sources: the gABI, "Note Section" and "Program Interpreter"; glibc's elf.h (ELF_NOTE_NEXT_OFFSET).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.reading import MAX_STRING, ElfStructure
from bundle_fix.model.errors import DamagedElfError

MAX_SEGMENT_BYTES = 1 << 20
"""Limit of all segments of one type together, in bytes; the rest is not read."""


def read_segments(elf: ElfStructure, kind: int) -> list[tuple[int, bytes]]:
    """Return alignment and bytes of each segment of type ``kind``."""
    found, left = [], MAX_SEGMENT_BYTES
    for s in elf.segments:
        if s.type == kind:
            data = elf.reader.pread(s.offset, min(s.filesz, left))
            found.append((s.align, data))
            left -= len(data)
    return found


def split_notes(elf: ElfStructure) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield type, owner and content of each note; a damaged note ends its segment."""
    for align, data in read_segments(elf, c.PT_NOTE):
        # Notes are aligned to 4 bytes, in segments that are aligned to 8 to 8.
        pad, start = 8 if align == 8 else 4, 0
        while start + 12 <= len(data):
            name_size, size, kind = struct.unpack_from(elf.mark + "3I", data, start)
            content = start + _round_up(12 + name_size, pad)
            if content + size > len(data):
                break
            name = data[start + 12 : start + 12 + name_size]
            yield kind, name, data[content : content + size]
            start = content + _round_up(size, pad)


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def read_interpreter(elf: ElfStructure) -> bytes | None:
    """Return the name of the loader that the kernel starts, or None.

    Raises:
        DamagedElfError: it is longer than `MAX_STRING`, or lies beyond the file.
    """
    segment = next((s for s in elf.segments if s.type == c.PT_INTERP), None)
    if segment is None:
        return None
    if segment.filesz > MAX_STRING or segment.span.end > elf.reader.size:
        raise DamagedElfError(
            f"the name of its interpreter lies beyond the file, or exceeds {MAX_STRING} bytes"
        )
    return elf.reader.pread(segment.offset, segment.filesz).partition(b"\0")[0]
