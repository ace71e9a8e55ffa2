"""A longer path of the interpreter, which gets a new place behind the dynamic string table.

The editors of the string table append it to the table as the last string. Then the table ends
before it, and PT_INTERP and the section of the interpreter get its place. It must be loaded: glibc
reads it from memory (rtld.c, PT_INTERP).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import NewInterpreter, PlannedItem
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.read.structs import Segment
from bundle_fix.model.content import Reader
from bundle_fix.model.patches import Patch


def plan_interpreter(image: Image, changes: Changes) -> tuple[NewInterpreter, ...]:
    """Return the new interpreter if it is too long for the place of the old one."""
    text = changes.interpreter
    segment = next((s for s in image.segments if s.type == c.PT_INTERP), None)
    if text is None or segment is None or len(os.fsencode(text)) < segment.filesz:
        return ()
    return (NewInterpreter(text),) if text != image.interpreter else ()


def compute_interpreter_patches(
    reader: Reader, before: Image, image: Image, planned: Sequence[PlannedItem]
) -> tuple[Patch, ...]:
    """Return the patches that make the last string of the string table the interpreter.

    Args:
        reader: the file after an edit of its string table.
        before: the image before the edit.
        image: the image after it.
        planned: the plan of the edit; without a new interpreter there is nothing to do.

    Raises:
        CannotEditError: the string table does not have the place that its entries say.
    """
    text = next((item.text for item in planned if isinstance(item, NewInterpreter)), None)
    table = find_string_table(image)
    if text is None or table is None:
        return ()
    size = len(os.fsencode(text)) + 1
    end = table[0] + table[1]
    if reader.pread(end - size, size) != os.fsencode(text) + b"\0":
        raise CannotEditError("the new interpreter is not the last string of its string table")
    address = (image.find_value(c.DT_STRTAB) or 0) + table[1] - size
    old = next(s for s in before.segments if s.type == c.PT_INTERP)
    new = old._replace(
        offset=end - size, vaddr=address, paddr=address, filesz=size, memsz=size, align=1
    )
    return tuple(
        sorted(
            (
                Patch(old.offset, bytes(old.filesz)),
                *_compute_segment_patches(image, new),
                *_compute_size_patches(image, table[1] - size),
                *_compute_section_patches(reader, image, old, new),
            )
        )
    )


def _compute_segment_patches(image: Image, new: Segment) -> Iterator[Patch]:
    for number, segment in enumerate(image.segments):
        if segment.type == c.PT_INTERP:
            place = image.header.phoff + number * image.format.segment.size
            yield Patch(place, image.format.pack_segment(new))


def _compute_size_patches(image: Image, size: int) -> Iterator[Patch]:
    """Yield the patches of DT_STRSZ."""
    dynamic = next(s for s in image.segments if s.type == c.PT_DYNAMIC)
    layout = image.format.dynamic
    for number, entry in enumerate(image.dynamic or ()):
        if entry.tag == c.DT_STRSZ:
            yield Patch(dynamic.offset + number * layout.size, layout.pack(c.DT_STRSZ, size))


def _compute_section_patches(
    reader: Reader, image: Image, old: Segment, new: Segment
) -> Iterator[Patch]:
    """Yield the patches of the headers of the string table and of the interpreter's section."""
    strings = image.find_value(c.DT_STRTAB)
    for number, section in enumerate(read_sections(reader, image.format, image.header)):
        changed = section
        if section.type == c.SHT_STRTAB and section.addr == strings:
            changed = section._replace(size=section.size - new.filesz)
        elif section.type == c.SHT_PROGBITS and section.addr == old.vaddr:
            changed = section._replace(addr=new.vaddr, offset=new.offset, size=new.filesz)
        if changed != section:
            place = image.header.shoff + number * image.format.section.size
            yield Patch(place, image.format.section.pack(*changed))
