"""The tables that may stand beside the dynamic string table, and how far each reaches.

Their sizes come from the dynamic section and the tables themselves, so that files without section
headers can be edited; where there are section headers, they must not claim more.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.symbols.hashes import count_symbols, measure_gnu_hash, measure_sysv_hash
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import Reader


class DynamicTable(Struct, frozen=True):
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
"""For each tag of a table that can move: how to find its size, and its alignment in bytes."""


def find_movable_tables(reader: Reader, image: Image) -> tuple[DynamicTable, ...]:
    """The tables that nothing but one dynamic entry points to, by their place in the file.

    Raises:
        DamagedElfError: one of them lies.
    """
    found = []
    for tag, (size_of, align) in SIZES.items():
        address = image.find_value(tag)
        if address is None:
            continue
        offset = image.find_offset(address)
        if offset is None:
            raise DamagedElfError("a table of its dynamic section lies outside its loaded segments")
        found.append(DynamicTable(tag, address, offset, size_of(reader, image, address), align))
    return tuple(sorted(found, key=lambda t: t.offset))
