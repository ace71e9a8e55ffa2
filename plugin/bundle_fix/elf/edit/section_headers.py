"""Updates of section headers and section symbols after an edit that moves tables.

The loader reads neither, but readelf, strip, objdump and gdb do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Section
from bundle_fix.model.content import CHUNK, Patch, Reader


class TableMove(NamedTuple):
    """The old and new address, file offset and size of a table, all in bytes.

    A table that keeps its place may still grow.
    """

    tag: int
    address: int
    offset: int
    size: int
    new_address: int
    new_offset: int
    new_size: int


SECTION_TYPES = {
    c.DT_STRTAB: c.SHT_STRTAB,
    c.DT_HASH: c.SHT_HASH,
    c.DT_GNU_HASH: c.SHT_GNU_HASH,
    c.DT_VERSYM: c.SHT_GNU_VERSYM,
    c.DT_VERNEED: c.SHT_GNU_VERNEED,
    c.DT_VERDEF: c.SHT_GNU_VERDEF,
}
"""The section type of each table, by its dynamic tag."""


def compute_section_patches(
    reader: Reader, image: Image, sections: Sequence[Section], moves: Sequence[TableMove]
) -> Iterator[Patch]:
    """Yield the patches to section headers and section symbols; none without sections.

    Raises:
        CannotEditError: no single section header matches a moved table.
    """
    moved: dict[int, TableMove] = {}
    for move in moves if sections else ():
        kind = SECTION_TYPES[move.tag]
        numbers = [n for n, s in enumerate(sections) if s.type == kind and s.addr == move.address]
        if len(numbers) != 1 or sections[numbers[0]].offset != move.offset:
            raise CannotEditError(
                f"no single section header matches the table of dynamic tag {move.tag:#x}"
            )
        moved[numbers[0]] = move
    layout = image.format.section
    for number, move in moved.items():
        header = sections[number]._replace(
            addr=move.new_address, offset=move.new_offset, size=move.new_size
        )
        yield Patch(image.header.shoff + number * layout.size, layout.pack(*header))
    for section in sections:
        if section.type == c.SHT_SYMTAB:
            yield from _compute_symbol_patches(reader, image, section, moved)


def _compute_symbol_patches(
    reader: Reader, image: Image, symbols: Section, moved: dict[int, TableMove]
) -> Iterator[Patch]:
    """Yield patches to the values of the STT_SECTION symbols of moved sections."""
    size = image.format.symbol_size
    word = image.format.word
    # Elf64_Sym: name, info, other, shndx, value, size. Elf32_Sym: name, value, size, info, …
    info_at, section_at, value_at = (4, 6, 8) if image.format.bits == 64 else (12, 14, 4)
    step = CHUNK // size * size
    # The gABI: local symbols, and section symbols are local, come before index sh_info.
    end = min(symbols.size, symbols.info * size) // size * size
    for start in range(0, end, step):
        data = reader.pread(symbols.offset + start, min(step, end - start))
        for number, info in enumerate(data[info_at::size]):
            if info & 0xF != c.STT_SECTION:
                continue
            at = number * size
            raw = data[at + section_at : at + section_at + 2]
            move = moved.get(int.from_bytes(raw, image.format.order))
            if move is not None and move.new_address != move.address:
                place = symbols.offset + start + at + value_at
                yield Patch(place, word.pack(move.new_address))
