"""GNU properties: what a file says of the processor it needs.

Source: the x86-64 psABI, "Program Property" (.note.gnu.property, GNU_PROPERTY_X86_ISA_1_NEEDED).
"""

from __future__ import annotations

from struct import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import notes
from bundle_fix.model.content import Reader

PROPERTY_NOTE = (b"GNU\0", 5)
ISA_1_NEEDED = 0xC0008002


def isa_needed(reader: Reader, image: Image) -> int:
    """The x86-64 level that the file is marked as needing: 1 to 4, or 0 where it says nothing."""
    header = Struct("<II" if image.format.order == "little" else ">II")
    step = 8 if image.format.bits == 64 else 4
    for note in notes(reader, image):
        if (note.name, note.type) != PROPERTY_NOTE:
            continue
        at = 0
        while at + header.size <= len(note.content):
            kind, size = header.unpack_from(note.content, at)
            at += header.size
            if kind == ISA_1_NEEDED:
                # One bit a level: baseline, v2, v3, v4.
                value = int.from_bytes(note.content[at : at + size], image.format.order)
                return min(value.bit_length(), 4)
            at += size + -size % step
    return 0
