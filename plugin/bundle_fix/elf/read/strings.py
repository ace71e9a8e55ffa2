"""Strings of an ELF file: the dynamic string table, and single strings of any table.

Source: the System V gABI, chapter 4, "String Table".
"""

from __future__ import annotations

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import DamagedElfError

MAX_STRING = 1 << 16
"""Limit of one string, in bytes; the longest RUNPATHs known (Nix) have a few thousand."""


def find_string_table(image: Image) -> tuple[int, int] | None:
    """Return file offset and size of the dynamic string table, in bytes, or None without one."""
    address, size = image.find_value(c.DT_STRTAB), image.find_value(c.DT_STRSZ)
    offset = None if address is None else image.find_offset(address)
    return None if offset is None or size is None else (offset, size)


def get_string(table: bytes, offset: int) -> bytes:
    """Return the string at ``offset`` of a table: the bytes before the next NUL."""
    end = table.find(b"\0", offset)
    return table[offset:] if end < 0 else table[offset:end]


def read_string(reader: Reader, table: tuple[int, int], at: int) -> bytes:
    """Read the string at offset ``at`` of a string table, given by its file offset and size.

    Raises:
        DamagedElfError: the string lies outside the table, or no NUL ends it.
    """
    start, size = table
    if at >= size:
        raise DamagedElfError(f"a dynamic string at {at} lies outside its table of {size} bytes")
    limit = min(size - at, MAX_STRING)
    # Most names are short: one small read finds their end.
    data = reader.pread(start + at, min(limit, 256))
    if b"\0" not in data and limit > 256:
        data = reader.pread(start + at, limit)
    if b"\0" not in data:
        raise DamagedElfError(f"the dynamic string at {at} does not end within {limit} bytes")
    return get_string(data, 0)
