"""The tables near the dynamic string table that an edit may move, with their sizes.

The sizes come from the dynamic section and the tables themselves, so that files without section
headers can be edited; section headers, if there are any, must not have larger ones.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.hashes import count_symbols, measure_gnu_hash, measure_sysv_hash
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import DamagedElfError


class DynamicTable(Struct, frozen=True):
    """A table that the dynamic section points to: its tag, place and size in bytes."""

    tag: int
    address: int
    offset: int
    size: int
    align: int

    @property
    def end(self) -> int:
        """The file offset just past the table."""
        return self.offset + self.size


def _measure_versym(reader: Reader, image: Image, _address: int) -> int:
    return 2 * count_symbols(reader, image)


def _measure_verneed(reader: Reader, image: Image, _address: int) -> int:
    lists = read_verneed(reader, image)
    return lists.size if lists else 0


def _measure_verdef(reader: Reader, image: Image, _address: int) -> int:
    lists = read_verdef(reader, image)
    return lists.size if lists else 0


SIZES: dict[int, tuple[Callable[[Reader, Image, int], int], int]] = {
    c.DT_HASH: (measure_sysv_hash, 8),
    c.DT_GNU_HASH: (measure_gnu_hash, 8),
    c.DT_VERSYM: (_measure_versym, 2),
    c.DT_VERNEED: (_measure_verneed, 8),
    c.DT_VERDEF: (_measure_verdef, 8),
}
"""For each tag of a movable table: the function that measures it, and its alignment in bytes."""


def find_movable_tables(reader: Reader, image: Image) -> tuple[DynamicTable, ...]:
    """Return the tables to which only a dynamic entry points, in the order of their file offsets.

    Raises:
        DamagedElfError: a table is invalid.
    """
    found = []
    for tag, (measure, align) in SIZES.items():
        address = image.find_value(tag)
        if address is None:
            continue
        offset = image.find_offset(address)
        if offset is None:
            raise DamagedElfError(f"no loaded segment contains the table of dynamic tag {tag:#x}")
        found.append(DynamicTable(tag, address, offset, measure(reader, image, address), align))
    return tuple(sorted(found, key=lambda t: t.offset))
