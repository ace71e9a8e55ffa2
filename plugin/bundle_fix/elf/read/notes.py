"""The notes of an ELF file: build-id, ABI tag, GNU properties.

Source: the gABI, "Note Section"; in a segment aligned to 8 bytes, notes are padded to 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Format
from bundle_fix.model.content import Reader

MAX_NOTES = 1 << 20
"""Limit of all note segments together, in bytes."""
BUILD_ID = (b"GNU\0", 3)
"""Owner and type of the note with the build-id (NT_GNU_BUILD_ID)."""
PROPERTY_NOTE = (b"GNU\0", 5)
"""Owner and type of the note with GNU properties (NT_GNU_PROPERTY_TYPE_0)."""
ISA_1_NEEDED = 0xC0008002
"""The property GNU_PROPERTY_X86_ISA_1_NEEDED."""


class Note(NamedTuple):
    """One note: the name of its owner with its NUL, its type, its content."""

    name: bytes
    type: int
    content: bytes


def read_notes(reader: Reader, image: Image) -> Iterator[Note]:
    """Yield the notes of all PT_NOTE segments; a damaged note ends its segment."""
    left = MAX_NOTES
    for segment in image.segments:
        if segment.type != c.PT_NOTE:
            continue
        data = reader.pread(segment.offset, min(segment.filesz, left))
        left -= len(data)
        yield from parse_notes(data, image.format, 8 if segment.align == 8 else 4)


def parse_notes(data: bytes, layout: Format, pad: int) -> Iterator[Note]:
    """Yield the notes of one segment or section, padded to ``pad`` bytes, up to a damaged one."""
    header = Struct(layout.mark + "III")
    at = 0
    while at + header.size <= len(data):
        name_size, size, kind = header.unpack_from(data, at)
        start = at + header.size
        content = start + name_size + -name_size % 4
        content += -(content - at) % pad
        if content + size > len(data):
            break
        yield Note(data[start : start + name_size], kind, data[content : content + size])
        at = content + size + -size % pad


def read_build_id(reader: Reader, image: Image) -> str | None:
    """Read the build-id, in lower-case hexadecimal, or None."""
    return find_build_id(read_notes(reader, image))


def find_build_id(notes: Iterable[Note]) -> str | None:
    """Return the build-id among some notes, in lower-case hexadecimal, or None."""
    return next((n.content.hex() for n in notes if (n.name, n.type) == BUILD_ID), None)


def read_isa_level(reader: Reader, image: Image) -> int:
    """Return the x86-64 level that the file is marked as needing: 1 to 4, or 0 without a mark.

    Source: the x86-64 psABI, "Program Property" (.note.gnu.property).
    """
    header = Struct(image.format.mark + "II")
    step = 8 if image.format.bits == 64 else 4
    for note in read_notes(reader, image):
        if (note.name, note.type) != PROPERTY_NOTE:
            continue
        at = 0
        while at + header.size <= len(note.content):
            kind, size = header.unpack_from(note.content, at)
            at += header.size
            if kind == ISA_1_NEEDED:
                # One bit per level: baseline, v2, v3, v4.
                value = int.from_bytes(note.content[at : at + size], image.format.order)
                return min(value.bit_length(), 4)
            at += size + -size % step
    return 0
