"""The tables that may stand beside the dynamic string table, and how far each reaches.

Their sizes come from the dynamic section and the tables themselves, so that files without section
headers can be edited; where there are section headers, they must not claim more.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.symbols.hashes import gnu_hash_size, symbol_count, sysv_hash_size
from bundle_fix.elf.symbols.versions import version_definitions, version_needs
from bundle_fix.model.content import Reader


class Table(Struct, frozen=True):
    """One table that the dynamic section points to: its tag, place and size in bytes."""

    tag: int
    address: int
    offset: int
    size: int
    align: int

    @property
    def end(self) -> int:
        """The file offset just past the table."""
        return self.offset + self.size


def _versym(reader: Reader, image: Image, _address: int) -> int:
    return 2 * symbol_count(reader, image)


def _verneed(reader: Reader, image: Image, _address: int) -> int:
    lists = version_needs(reader, image)
    return lists.size if lists else 0


def _verdef(reader: Reader, image: Image, _address: int) -> int:
    lists = version_definitions(reader, image)
    return lists.size if lists else 0


SIZES: dict[int, tuple[Callable[[Reader, Image, int], int], int]] = {
    c.DT_HASH: (sysv_hash_size, 8),
    c.DT_GNU_HASH: (gnu_hash_size, 8),
    c.DT_VERSYM: (_versym, 2),
    c.DT_VERNEED: (_verneed, 8),
    c.DT_VERDEF: (_verdef, 8),
}
"""For each tag of a table that can move: how to find its size, and its alignment in bytes."""


def movable_tables(reader: Reader, image: Image) -> tuple[Table, ...]:
    """The tables that nothing but one dynamic entry points to, by their place in the file.

    Raises:
        DamagedElfError: one of them lies.
    """
    found = []
    for tag, (size_of, align) in SIZES.items():
        address = image.first(tag)
        if address is None:
            continue
        offset = image.file_offset(address)
        if offset is None:
            raise DamagedElfError("a table of its dynamic section lies outside its loaded segments")
        found.append(Table(tag, address, offset, size_of(reader, image, address), align))
    return tuple(sorted(found, key=lambda t: t.offset))
