"""Edits that keep the size of what they change: flags, numbers, and shorter interpreters.

They are made before the other changes, and every editor works on their result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.read.structs import Segment
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.patches import Patch

EI_OSABI = 7
VER_NDX_GLOBAL = 1
"""The version index of a symbol without a version."""


def compute_fixed_size_patches(reader: Reader, image: Image, changes: Changes) -> tuple[Patch, ...]:
    """Return the patches of all changes that need no space, sorted.

    Raises:
        EditRefusedError: the file does not have what is to be changed.
        DamagedElfError: a table of symbols cannot be read.
    """
    patches: list[Patch] = []
    if changes.os_abi is not None and changes.os_abi != image.os_abi:
        patches.append(Patch(EI_OSABI, bytes([changes.os_abi])))
    if changes.executable_stack is not None:
        patches += _compute_stack_patches(image, is_executable=changes.executable_stack)
    if changes.interpreter is not None:
        patches += _compute_interpreter_patches(image, changes.interpreter)
    if changes.clear_versions:
        patches += _compute_version_patches(reader, image, changes.clear_versions)
    return tuple(sorted(patches))


def _compute_stack_patches(image: Image, *, is_executable: bool) -> Iterator[Patch]:
    """Yield the patches of PT_GNU_STACK; a free program header becomes one if there is none.

    The kernel and the loader use the last one (binfmt_elf.c, dl-load.c).
    """
    kinds = [segment.type for segment in image.segments]
    if c.PT_GNU_STACK not in kinds and c.PT_NULL not in kinds:
        raise EditRefusedError(
            "it cannot be edited: it has no PT_GNU_STACK, and no free program header"
        )
    size = image.format.segment.size
    new = Segment(c.PT_GNU_STACK, c.PF_R | c.PF_W, 0, 0, 0, 0, 0, 16)
    free = kinds.index(c.PT_NULL) if c.PT_GNU_STACK not in kinds else -1
    for number, segment in enumerate(image.segments):
        if segment.type != c.PT_GNU_STACK and number != free:
            continue
        after = segment if number != free else new
        flags = after.flags | c.PF_X if is_executable else after.flags & ~c.PF_X
        after = after._replace(flags=flags)
        if after != segment:
            place = image.header.phoff + number * size
            yield Patch(place, image.format.pack_segment(after))


def _compute_interpreter_patches(image: Image, interpreter: str) -> Iterator[Patch]:
    segment = next((s for s in image.segments if s.type == c.PT_INTERP), None)
    if segment is None:
        raise EditRefusedError("it cannot be edited: it has no interpreter (PT_INTERP)")
    data = os.fsencode(interpreter)
    # The kernel requires a NUL as the last byte of the segment (binfmt_elf.c).
    if interpreter != image.interpreter and len(data) < segment.filesz:
        yield Patch(segment.offset, data.ljust(segment.filesz, b"\0"))


def _compute_version_patches(
    reader: Reader, image: Image, names: tuple[str, ...]
) -> Iterator[Patch]:
    """Yield the patches that remove the version of every dynamic symbol with one of ``names``."""
    address, table = image.find_value(c.DT_VERSYM), find_string_table(image)
    start = None if address is None else image.find_offset(address)
    if start is None or table is None:
        return
    strings = reader.pread(*table)
    wanted = {os.fsencode(name) for name in names}
    value = VER_NDX_GLOBAL.to_bytes(2, image.format.order)
    for number, at in enumerate(read_name_offsets(reader, image)):
        place = start + 2 * number
        if get_string(strings, at) in wanted and read_exactly(reader, place, 2) != value:
            yield Patch(place, value)
