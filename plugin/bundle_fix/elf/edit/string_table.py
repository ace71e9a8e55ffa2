"""Who uses which bytes of the dynamic string table, and where new strings fit in it.

Linkers share tails: ``/opt/x/foo`` may also be the symbol ``foo``. So a string may be overwritten
only when nothing else refers to any of its bytes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Container, Iterable, Sequence

from msgspec import Struct

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import get_string
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import Patch, Reader


class Placement(Struct, frozen=True):
    """Where strings went: their offsets in the table, and those for which there was no room.

    ``patches`` are relative to the start of the table.
    """

    offsets: dict[str, int]
    patches: tuple[Patch, ...]
    unplaced: tuple[str, ...]


def find_used_offsets(
    reader: Reader,
    image: Image,
    table: bytes,
    kept: Iterable[DynamicEntry],
    renamed: Container[str],
) -> tuple[array[int], ...]:
    """All offsets into the string table that stay in use: by ``kept`` entries, symbols, versions.

    Args:
        reader: the file.
        image: what was read from it.
        table: its dynamic string table.
        kept: the dynamic entries that stay.
        renamed: needed names that go, also from beside the versions wanted of them.

    Raises:
        CannotEditError: section headers use the table as well, or the symbols cannot be counted.
    """
    if _is_shared_with_sections(reader, image):
        raise CannotEditError("its section headers use the dynamic string table as well")
    versions: list[int] = []
    needs, definitions = read_verneed(reader, image), read_verdef(reader, image)
    for group in definitions.groups if definitions else ():
        versions.extend(group)
    for group in needs.groups if needs else ():
        gone = os.fsdecode(get_string(table, group[0])) in renamed
        versions.extend(group[1:] if gone else group)
    own = array("Q", (e.value for e in kept if e.tag in c.STRING_TAGS))
    return own, array("I", versions), read_name_offsets(reader, image)


def _is_shared_with_sections(reader: Reader, image: Image) -> bool:
    sections = read_sections(reader, image.format, image.header)
    address = image.find_value(c.DT_STRTAB)
    tables = {i for i, s in enumerate(sections) if s.type == c.SHT_STRTAB and s.addr == address}
    static = any(s.type == c.SHT_SYMTAB and s.link in tables for s in sections)
    return bool(tables) and (static or image.header.shstrndx in tables)


def allocate_strings(
    table: bytes, users: Sequence[array[int]], freed: Iterable[int], texts: Iterable[str]
) -> Placement:
    """Find room for ``texts``: where they already stand, or in the strings ``freed``.

    Args:
        table: the string table.
        users: the offsets that stay in use.
        freed: offsets of strings whose entries go.
        texts: the new strings.
    """
    taken = array("I")
    offsets: dict[str, int] = {}
    patches: list[Patch] = []
    homeless: list[str] = []
    slots = sorted(set(freed))
    for text in sorted(set(texts), key=lambda t: (-len(t), t)):
        current = apply_patches(table, patches)
        data = os.fsencode(text) + b"\0"
        found = current.find(data)
        if found < 0:
            slot = _find_slot(current, (*users, taken), slots, len(data))
            if slot is None:
                homeless.append(text)
                continue
            found, end = slot
            patches.append(Patch(found, data[:-1].ljust(end - found, b"\0")))
        taken.append(found)
        offsets[text] = found
    return Placement(offsets, tuple(patches), tuple(homeless))


def apply_patches(table: bytes, patches: Sequence[Patch]) -> bytes:
    """``table`` with patches; the table itself, which may be large, where there are none."""
    if not patches:
        return table
    changed = bytearray(table)
    for patch in patches:
        changed[patch.offset : patch.end] = patch.data
    return bytes(changed)


def _find_slot(
    table: bytes, users: Sequence[array[int]], slots: Iterable[int], size: int
) -> tuple[int, int] | None:
    """Start and end of a freed string with room for ``size`` bytes, its final NUL counted."""
    for start in slots:
        end = table.find(b"\0", start)
        before = table.rfind(b"\0", 0, start) if start else -1
        fits = end >= 0 and end + 1 - start >= size
        if fits and not any(before < at < end for offsets in users for at in offsets):
            return start, end
    return None
