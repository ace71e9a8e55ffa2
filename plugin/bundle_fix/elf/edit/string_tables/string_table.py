"""The used bytes of the dynamic string table, and the space for new strings in it.

Linkers share the ends of strings: ``/opt/x/foo`` may also be the symbol ``foo``. The bytes of a
removed string are cleared, and may be overwritten, unless something else refers to them.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import get_string
from bundle_fix.elf.symbols.symbol_table import read_name_offsets, read_name_offsets_at
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import Reader
from bundle_fix.model.patches import Patch


class Placement(Struct, frozen=True):
    """The offsets of new strings in a string table.

    Attributes:
        offsets: the offset of each string that fits, in bytes.
        patches: the changes to the table, sorted and disjoint; offsets count from its start.
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
    """Return all offsets into the string table that stay in use.

    They are those of dynamic entries, versions and symbols, and of section headers and static
    symbols if these use the same table.

    Args:
        reader: the file.
        image: what was read from it.
        table: its dynamic string table.
        entries: the dynamic entries that stay.
        renamed: needed names that are replaced, also in the list of needed versions.

    Raises:
        DamagedElfError: a table cannot be read, or the number of symbols is unknown.
    """
    versions: list[int] = []
    needs, definitions = read_verneed(reader, image), read_verdef(reader, image)
    for group in definitions.groups if definitions else ():
        versions.extend(group)
    for group in needs.groups if needs else ():
        is_renamed = os.fsdecode(get_string(table, group[0])) in renamed
        versions.extend(group[1:] if is_renamed else group)
    own = array("Q", (e.value for e in entries if e.tag in c.STRING_TAGS))
    dynamic = own, array("I", versions), read_name_offsets(reader, image)
    return (*dynamic, *_read_section_offsets(reader, image, len(table)))


def _read_section_offsets(reader: Reader, image: Image, size: int) -> Iterator[array[int]]:
    """Yield the offsets that section headers and static symbols have into the same bytes."""
    sections = read_sections(reader, image.format, image.header)
    start = image.find_offset(image.find_value(c.DT_STRTAB) or 0) or 0
    shifts = {
        number: s.offset - start
        for number, s in enumerate(sections)
        if s.type == c.SHT_STRTAB and s.offset < start + size and start < s.offset + s.size
    }
    if image.header.shstrndx in shifts:
        yield _shift(array("I", (s.name for s in sections)), shifts[image.header.shstrndx])
    for symbols in sections:
        if symbols.type == c.SHT_SYMTAB and symbols.link in shifts:
            names = read_name_offsets_at(reader, image, symbols.offset, symbols.size)
            yield _shift(names, shifts[symbols.link])


def _shift(offsets: array[int], distance: int) -> array[int]:
    return array("q", (at + distance for at in offsets)) if distance else offsets


def allocate_strings(
    table: bytes, used: Sequence[array[int]], freed: Iterable[int], texts: Iterable[str]
) -> Placement:
    """Clear removed strings, and find an offset for each of ``texts``.

    The offset is that of an existing copy, or in the bytes of a removed string.

    Args:
        table: the string table.
        used: the offsets that stay in use.
        freed: the offsets of strings whose entries are removed.
        texts: the new strings.
    """
    slots = list(find_slots(table, used, freed))
    changed = bytearray(table)
    for start, end in slots:
        changed[start:end] = bytes(end - start)
    spaces = list(slots)
    offsets: dict[str, int] = {}
    unplaced: list[str] = []
    # The longest first: a shorter one may be the end of it.
    for text in sorted(set(texts), key=lambda t: (-len(t), t)):
        data = os.fsencode(text) + b"\0"
        found = changed.find(data)
        if any(start < found + len(data) <= end for start, end in spaces):
            found = -1  # Its final NUL may be overwritten.
        space = next((s for s in spaces if len(data) <= s[1] - s[0]), None)
        if found < 0 and space is not None:
            spaces.remove(space)
            found = space[0]
            changed[found : found + len(data)] = data
        if found < 0:
            unplaced.append(text)
        else:
            offsets[text] = found
    patches = (Patch(start, bytes(changed[start:end])) for start, end in slots)
    return Placement(offsets, tuple(patches), tuple(unplaced))


def find_slots(
    table: bytes, used: Sequence[array[int]], freed: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """Yield start and end of the bytes of removed strings that nothing else uses, in order.

    The bytes include the final NUL if no other string ends there.
    """
    starts = sorted(set(freed))
    if not starts or not table:
        return
    low, high = table.rfind(b"\0", 0, starts[0]) + 1, table.find(b"\0", starts[-1]) % len(table)
    users = sorted(at for offsets in used for at in offsets if low <= at <= high)
    last = 0
    for start in starts:
        nul = table.find(b"\0", start)
        if nul < 0 or start < last:
            continue
        first = table.rfind(b"\0", 0, start) + 1
        near = users[bisect_left(users, first) : bisect_right(users, nul)]
        if near and near[0] <= start:
            continue
        # A user of the NUL itself has the empty string there.
        end = near[0] if near and near[0] < nul else nul + 1
        if start < end:
            yield start, end
            last = end


def apply_patches(table: bytes, patches: Sequence[Patch]) -> bytes:
    """Return ``table`` with patches; without patches, the same object, which may be large."""
    if not patches:
        return table
    changed = bytearray(table)
    for patch in patches:
        changed[patch.offset : patch.end] = patch.data
    return bytes(changed)
