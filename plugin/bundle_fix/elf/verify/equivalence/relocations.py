"""Relocations with their symbols instead of symbol numbers.

Source: the gABI, "Relocation". Tables in other formats (DT_RELR) have no symbols and must keep
their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.equivalence.symbols import DynamicSymbol, Symbols
from bundle_fix.elf.verify.ranges import Span
from bundle_fix.elf.verify.reading import ElfStructure
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import DamagedElfError


class RelocationTable(NamedTuple):
    """A table of relocations: its bytes, the format of one for `struct`, and their number."""

    span: Span
    layout: str
    length: int


class Relocation(NamedTuple):
    """A relocation; ``addend`` is 0 if it is stored at the relocated address."""

    address: int
    type: int
    symbol: DynamicSymbol
    addend: int


def find_relocations(elf: ElfStructure) -> Mapping[int, RelocationTable]:
    """Return the tables of relocations by dynamic tag.

    Raises:
        DamagedElfError: no loaded segment contains a table.
    """
    word = "Q" if elf.bits == 64 else "I"
    layouts = {c.DT_REL: word * 2, c.DT_RELA: word * 2 + word.lower()}
    plt = elf.find_value(c.DT_PLTREL) or c.DT_RELA
    found = {}
    for tag, size_tag, kind in (
        (c.DT_REL, c.DT_RELSZ, c.DT_REL),
        (c.DT_RELA, c.DT_RELASZ, c.DT_RELA),
        (c.DT_JMPREL, c.DT_PLTRELSZ, plt),
    ):
        address, size = elf.find_value(tag), elf.find_value(size_tag)
        if address is None or not size or kind not in layouts:
            continue
        start = elf.find_offset(address)
        if start is None or start + size > elf.reader.size:
            raise DamagedElfError(f"no loaded segment contains the table of dynamic tag {tag:#x}")
        layout = elf.mark + layouts[kind]
        found[tag] = RelocationTable(
            Span(start, start + size), layout, size // struct.calcsize(layout)
        )
    return found


def read_relocations(
    elf: ElfStructure, table: RelocationTable, symbols: Symbols
) -> Iterator[Relocation]:
    """Yield the relocations of ``table`` in the file's order.

    Raises:
        DamagedElfError: a relocation has the number of a symbol that does not exist.
    """
    # r_info has the symbol's number above the type: 32 of 64 bits, or 24 of 32.
    shift = 32 if elf.bits == 64 else 8
    size = struct.calcsize(table.layout)
    step = CHUNK // size * size
    end = table.span.start + table.length * size
    for start in range(table.span.start, end, step):
        data = elf.reader.pread(start, min(step, end - start))
        for address, info, *addend in struct.iter_unpack(table.layout, data):
            if info >> shift >= len(symbols):
                raise DamagedElfError(f"a relocation has the symbol number {info >> shift}")
            kind = info & (1 << shift) - 1
            yield Relocation(address, kind, symbols[info >> shift], addend[0] if addend else 0)
