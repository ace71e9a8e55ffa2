"""Updates of section headers and section symbols after an edit that moves tables.

The loader reads neither, but readelf, strip, objdump and gdb do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.structs import Section
from bundle_fix.model.content import CHUNK, Reader
from bundle_fix.model.patches import Patch


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


def update_entries(
    entries: Sequence[DynamicEntry], moves: Sequence[TableMove]
) -> list[DynamicEntry]:
    """Return ``entries`` after ``moves``, of which the first is that of the string table."""
    values = {move.tag: move.new_address for move in moves} | {c.DT_STRSZ: moves[0].new_size}
    return [DynamicEntry(e.tag, values.get(e.tag, e.value)) for e in entries]


def apply_moves(sections: Sequence[Section], moves: Sequence[TableMove]) -> list[Section]:
    """Return the section headers after tables moved or grew; empty without section headers.

    Raises:
        CannotEditError: no single section header matches a moved table, or another section has
            bytes of a string table that moves.
    """
    result = list(sections)
    for move in moves if sections else ():
        kind = SECTION_TYPES[move.tag]
        numbers = [n for n, s in enumerate(sections) if s.type == kind and s.addr == move.address]
        if len(numbers) != 1 or sections[numbers[0]].offset != move.offset:
            raise CannotEditError(
                f"no single section header matches the table of dynamic tag {move.tag:#x}"
            )
        if move.tag == c.DT_STRTAB and move.new_offset != move.offset:
            _require_unshared(sections, numbers[0], move)
        result[numbers[0]] = result[numbers[0]]._replace(
            addr=move.new_address, offset=move.new_offset, size=move.new_size
        )
    return result


def _require_unshared(sections: Sequence[Section], number: int, move: TableMove) -> None:
    for other, s in enumerate(sections):
        is_stored = s.size and s.type not in (0, c.SHT_NOBITS) and other != number
        if is_stored and s.offset < move.offset + move.size and move.offset < s.offset + s.size:
            raise CannotEditError(f"section {other} has bytes of its dynamic string table as well")


def compute_section_patches(
    reader: Reader, image: Image, sections: Sequence[Section], changed: Sequence[Section]
) -> Iterator[Patch]:
    """Yield the patches to section headers and section symbols that make ``changed`` true.

    Args:
        reader: the file.
        image: what was read from it.
        sections: its section headers.
        changed: the same headers after the edit.
    """
    layout = image.format.section
    addresses: dict[int, int] = {}
    for number, (old, new) in enumerate(zip(sections, changed, strict=True)):
        if old != new:
            yield Patch(image.header.shoff + number * layout.size, layout.pack(*new))
        if old.addr != new.addr:
            addresses[number] = new.addr
    for section in sections if addresses else ():
        if section.type == c.SHT_SYMTAB:
            yield from _compute_symbol_patches(reader, image, section, addresses)


def _compute_symbol_patches(
    reader: Reader, image: Image, symbols: Section, addresses: Mapping[int, int]
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
            address = addresses.get(int.from_bytes(raw, image.format.order))
            if address is not None:
                yield Patch(symbols.offset + start + at + value_at, word.pack(address))
