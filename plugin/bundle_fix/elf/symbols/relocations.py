"""The symbols that dynamic relocations refer to, among them symbols that the object itself defines.

A relocation against an own symbol binds to the first definition in the scope, which may be that of
another object ("interposition").
Source: the gABI, "Relocation" and "Dynamic Section".
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.symbols.symbol_table import MAX_STRINGS, read_name_offsets
from bundle_fix.model.content import Reader

MAX_RELOCATIONS = 256 << 20
"""Limit of one table of relocations, in bytes; Chromium's has 20 MiB."""
TABLES = (
    (c.DT_RELA, c.DT_RELASZ), (c.DT_REL, c.DT_RELSZ), (c.DT_JMPREL, c.DT_PLTRELSZ),
)  # fmt: skip
"""The dynamic tags with address and size of each table; the first may contain the last."""


def is_bound_to_itself(image: Image) -> bool:
    """Return whether the loader looks up an object's references in the object first."""
    flags = image.find_value(c.DT_FLAGS) or 0
    return image.find_value(c.DT_SYMBOLIC) is not None or bool(flags & c.DF_SYMBOLIC)


def read_relocated_names(reader: Reader, image: Image) -> frozenset[bytes]:
    """Return the names of the symbols that dynamic relocations refer to.

    Tables that cannot be read are skipped.

    Raises:
        DamagedElfError: the symbol table cannot be read.
    """
    indices = set(_iter_symbol_indices(reader, image)) - {0}
    table = find_string_table(image)
    if not indices or table is None:
        return frozenset()
    offsets = read_name_offsets(reader, image)
    strings = reader.pread(table[0], min(table[1], MAX_STRINGS))
    return frozenset(get_string(strings, offsets[n]) for n in indices if n < len(offsets))


def has_addends(image: Image, tag: int) -> bool:
    """Return whether the table of relocations of a dynamic tag contains addends."""
    if tag == c.DT_JMPREL:
        return image.find_value(c.DT_PLTREL) == c.DT_RELA
    return tag == c.DT_RELA


def _iter_symbol_indices(reader: Reader, image: Image) -> Iterator[int]:
    is_wide = image.format.bits == 64
    for tag, size_tag in TABLES:
        address, size = image.find_value(tag), image.find_value(size_tag) or 0
        start = None if address is None else image.find_offset(address)
        if start is None or size > MAX_RELOCATIONS:
            continue
        words = array("Q" if is_wide else "I")
        data = reader.pread(start, size)
        step = 3 if has_addends(image, tag) else 2
        words.frombytes(data[: len(data) // (step * words.itemsize) * step * words.itemsize])
        if image.format.order != sys.byteorder:
            words.byteswap()
        # ELF64_R_SYM and ELF32_R_SYM of r_info, the second field.
        yield from {info >> (32 if is_wide else 8) for info in words[1::step]}
