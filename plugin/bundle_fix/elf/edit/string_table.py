"""The used bytes of the dynamic string table, and the space for new strings in it.

Linkers share the ends of strings: ``/opt/x/foo`` may also be the symbol ``foo``. A string may be
overwritten only if nothing else refers to any of its bytes.
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
    """The offsets of new strings in a string table.

    Attributes:
        offsets: the offset of each string that fits, in bytes.
        patches: the changes to the table; offsets count from its start.
        unplaced: the strings for which there is no space.
    """

    offsets: dict[str, int]
    patches: tuple[Patch, ...]
    unplaced: tuple[str, ...]


def find_used_offsets(
    reader: Reader,
    image: Image,
    table: bytes,
    entries: Iterable[DynamicEntry],
    renamed: Container[str],
) -> tuple[array[int], ...]:
    """Return all offsets into the string table that stay in use, of entries, versions, symbols.

    Args:
        reader: the file.
        image: what was read from it.
        table: its dynamic string table.
        entries: the dynamic entries that stay.
        renamed: needed names that are replaced, also in the list of needed versions.

    Raises:
        CannotEditError: section headers use the table as well.
        DamagedElfError: a table cannot be read, or the number of symbols is unknown.
    """
    if _is_shared_with_sections(reader, image):
        raise CannotEditError("its section headers use the dynamic string table as well")
    versions: list[int] = []
    needs, definitions = read_verneed(reader, image), read_verdef(reader, image)
    for group in definitions.groups if definitions else ():
        versions.extend(group)
    for group in needs.groups if needs else ():
        is_renamed = os.fsdecode(get_string(table, group[0])) in renamed
        versions.extend(group[1:] if is_renamed else group)
    own = array("Q", (e.value for e in entries if e.tag in c.STRING_TAGS))
    return own, array("I", versions), read_name_offsets(reader, image)


def _is_shared_with_sections(reader: Reader, image: Image) -> bool:
    """Return whether the names of sections or of static symbols are in the same table."""
    sections = read_sections(reader, image.format, image.header)
    address = image.find_value(c.DT_STRTAB)
    tables = {i for i, s in enumerate(sections) if s.type == c.SHT_STRTAB and s.addr == address}
    static = any(s.type == c.SHT_SYMTAB and s.link in tables for s in sections)
    return bool(tables) and (static or image.header.shstrndx in tables)


def allocate_strings(
    table: bytes, used: Sequence[array[int]], freed: Iterable[int], texts: Iterable[str]
) -> Placement:
    """Find an offset for each of ``texts``: that of an existing copy, or in a freed string.

    Args:
        table: the string table.
        used: the offsets that stay in use.
        freed: the offsets of strings whose entries are removed.
        texts: the new strings.
    """
    placed = array("I")
    offsets: dict[str, int] = {}
    patches: list[Patch] = []
    unplaced: list[str] = []
    slots = sorted(set(freed))
    # The longest first: a shorter one may be the end of it.
    for text in sorted(set(texts), key=lambda t: (-len(t), t)):
        current = apply_patches(table, patches)
        data = os.fsencode(text) + b"\0"
        found = current.find(data)
        if found < 0:
            slot = _find_slot(current, (*used, placed), slots, len(data))
            if slot is None:
                unplaced.append(text)
                continue
            found, end = slot
            patches.append(Patch(found, data[:-1].ljust(end - found, b"\0")))
        placed.append(found)
        offsets[text] = found
    return Placement(offsets, tuple(patches), tuple(unplaced))


def apply_patches(table: bytes, patches: Sequence[Patch]) -> bytes:
    """Return ``table`` with patches; without patches, the same object, which may be large."""
    if not patches:
        return table
    changed = bytearray(table)
    for patch in patches:
        changed[patch.offset : patch.end] = patch.data
    return bytes(changed)


def _find_slot(
    table: bytes, used: Sequence[array[int]], slots: Iterable[int], size: int
) -> tuple[int, int] | None:
    """Return start and end of a freed string of at least ``size`` bytes, with its final NUL."""
    for start in slots:
        end = table.find(b"\0", start)
        before = table.rfind(b"\0", 0, start) if start else -1
        fits = end >= 0 and end + 1 - start >= size
        if fits and not any(before < at < end for offsets in used for at in offsets):
            return start, end
    return None
