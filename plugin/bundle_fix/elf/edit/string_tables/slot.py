"""The slot editor: it writes new strings over removed ones and moves nothing.

It is the first step of every edit in place; the table editor places the strings that do not fit.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.edit.entries import NewEntry, NewInterpreter, NewName, PlannedItem
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.string_tables.dynamic_section import compute_dynamic_patch
from bundle_fix.elf.edit.string_tables.string_table import (
    Placement,
    allocate_strings,
    apply_patches,
    find_slots,
    find_used_offsets,
)
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.strings import find_string_table, get_string, read_string
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.versions import read_verneed
from bundle_fix.model.content import Reader, read_exactly
from bundle_fix.model.patches import Patch, overlay_patches

NEED_FILE_AT = 4
"""The offset of the library's name in an Elf_Verneed (vn_file)."""


class StringTable(Struct, frozen=True):
    """The string table of a file at ``offset``, with the new strings that fit in it.

    ``interpreter`` is a new path for PT_INTERP with its NUL, which follows all strings, or empty.
    """

    offset: int
    data: bytes
    placement: Placement
    interpreter: bytes = b""

    @property
    def patches(self) -> tuple[Patch, ...]:
        """The patches to the file that write the placed strings into the table."""
        return tuple(Patch(self.offset + p.offset, p.data) for p in self.placement.patches)

    @property
    def patched(self) -> bytes:
        """The table's bytes with the placed strings."""
        return apply_patches(self.data, self.placement.patches)


def place_strings(reader: Reader, image: Image, planned: Sequence[PlannedItem]) -> StringTable:
    """Find offsets for the new strings of ``planned`` in the table as it is.

    Raises:
        CannotEditError: there is no string table.
    """
    table = find_string_table(image)
    data = None if table is None else read_exactly(reader, *table)
    if table is None or data is None:
        raise CannotEditError("it has no dynamic string table")
    remaining = [entry for entry in planned if isinstance(entry, DynamicEntry)]
    new = [entry for entry in planned if isinstance(entry, NewEntry | NewName)]
    interpreters = [entry.text for entry in planned if isinstance(entry, NewInterpreter)]
    dropped = set(image.dynamic or ()) - set(remaining)
    freed = [entry.value for entry in dropped if entry.tag in c.STRING_TAGS]
    renamed = {entry.replaces for entry in new if isinstance(entry, NewEntry)}
    used = find_used_offsets(reader, image, data, remaining, renamed) if new or freed else ()
    old = {os.fsencode(entry.old) for entry in new if isinstance(entry, NewName)}
    erased = tuple(_erase_names(reader, image, data, used, old)) if old else ()
    texts = [entry.text for entry in new]
    placement = allocate_strings(apply_patches(data, erased), used, freed, texts)
    return StringTable(
        table[0],
        data,
        replace(placement, patches=overlay_patches(erased, placement.patches)),
        b"".join(os.fsencode(text) + b"\0" for text in interpreters),
    )


def _erase_names(
    reader: Reader, image: Image, table: bytes, used: Sequence[array[int]], names: Container[bytes]
) -> Iterator[Patch]:
    """Yield the patches to the table that erase the old names of symbols, where they are unused."""
    offsets = read_name_offsets(reader, image)
    left = array("I", (at for at in offsets if get_string(table, at) not in names))
    others = [left if some == offsets else some for some in used]
    for start, end in find_slots(table, others, set(offsets) - set(left)):
        yield Patch(start, bytes(end - start))


def append_strings(strings: StringTable) -> tuple[bytes, dict[str, int]]:
    """Return the bytes to append to the table, and the offsets of all new strings then.

    Raises:
        CannotEditError: the last string of the table has no end.
    """
    base, added = len(strings.data), b""
    if not strings.data.endswith(b"\0"):
        raise CannotEditError("its dynamic string table does not end with a NUL")
    offsets = dict(strings.placement.offsets)
    for text in strings.placement.unplaced:
        data = os.fsencode(text) + b"\0"
        found = added.find(data)
        if found < 0:
            found, added = len(added), added + data
        offsets[text] = base + found
    return added + strings.interpreter, offsets


def compute_reference_patches(
    reader: Reader, image: Image, planned: Sequence[PlannedItem], offsets: dict[str, int]
) -> tuple[Patch, ...]:
    """Return the patches outside the dynamic section that refer to new strings, sorted.

    They rename replaced libraries in the list of needed versions, and dynamic symbols.
    """
    new = [entry for entry in planned if isinstance(entry, NewEntry) and entry.replaces]
    names = {entry.replaces: offsets[entry.text] for entry in new}
    versions = rename_libraries(reader, image, names)
    if not any(isinstance(item, NewName) for item in planned):
        return versions
    from bundle_fix.elf.edit.parts.symbol_names import compute_name_patches

    return tuple(sorted((*versions, *compute_name_patches(reader, image, planned, offsets))))


def rename_libraries(reader: Reader, image: Image, names: Mapping[str, int]) -> tuple[Patch, ...]:
    """Return the patches that rename libraries in the list of needed versions.

    The loader looks for a library by the name in this list (glibc's dl-version.c, find_needed),
    and ends the program if no library of that name was loaded.

    Args:
        reader: the file.
        image: what was read from it.
        names: the sonames to replace, each with the string table offset of the new one.
    """
    lists, table = read_verneed(reader, image), find_string_table(image)
    if lists is None or table is None:
        return ()
    patches = []
    for place, group in zip(lists.places, lists.groups, strict=True):
        name = os.fsdecode(read_string(reader, table, group[0]))
        if name in names:
            data = names[name].to_bytes(4, image.format.order)
            patches.append(Patch(place + NEED_FILE_AT, data))
    return tuple(patches)


def resolve_string_offsets(
    planned: Sequence[PlannedItem], offsets: dict[str, int]
) -> tuple[DynamicEntry, ...]:
    """Return ``planned`` with every new string replaced by its offset in the table."""
    return tuple(
        entry if isinstance(entry, DynamicEntry) else DynamicEntry(entry.tag, offsets[entry.text])
        for entry in planned
        if isinstance(entry, DynamicEntry | NewEntry)
    )


def edit_in_slots(
    reader: Reader, image: Image, planned: Sequence[PlannedItem]
) -> tuple[Patch, ...]:
    """Return the patches of an edit whose new strings all fit into removed ones.

    Raises:
        CannotEditError: there is no space for a string or an entry.
    """
    strings = place_strings(reader, image, planned)
    if strings.placement.unplaced or strings.interpreter:
        raise CannotEditError("not enough space: no removed string in .dynstr is long enough")
    offsets = strings.placement.offsets
    versions = compute_reference_patches(reader, image, planned, offsets)
    dynamic = compute_dynamic_patch(image, resolve_string_offsets(planned, offsets))
    return tuple(sorted((*strings.patches, *versions, dynamic)))
