"""The positions of all numeric fields of the tables of an ELF file that the loader reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.symbols.versions import read_verdef, read_verneed
from bundle_fix.model.content import BytesReader

VERNEED, VERNAUX = (2, 2, 4, 4, 4), (4, 2, 2, 4, 4)
VERDEF, VERDAUX = (2, 2, 2, 2, 4, 4, 4), (4, 4)
SYMBOL = (4, 1, 1, 2, 8, 8)


class Field(NamedTuple):
    """One number: its name, its offset, and its size in bytes."""

    name: str
    offset: int
    size: int


def _list_table(name: str, offset: int, sizes: tuple[int, ...]) -> Iterator[Field]:
    for number, size in enumerate(sizes):
        yield Field(f"{name}[{number}]", offset, size)
        offset += size


def list_fields(data: bytes) -> list[Field]:
    """List the numbers of a 64-bit file: headers, dynamic section, hashes, versions, symbols."""
    reader = BytesReader(data)
    image = read_image(reader)
    found = list(_list_table("e_ident", 0, (1,) * 16))
    found += _list_table("Ehdr", 16, (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2))
    for number, segment in enumerate(image.segments):
        offset = image.header.phoff + number * 56
        found += _list_table(
            f"Phdr {number} (type {segment.type:#x})", offset, (4, 4, 8, 8, 8, 8, 8, 8)
        )
    start = next(s.offset for s in image.segments if s.type == c.PT_DYNAMIC)
    for number, entry in enumerate(image.dynamic or ()):
        found += _list_table(f"Dyn {number} (tag {entry.tag:#x})", start + 16 * number, (8, 8))
    found += _list_hashes(image)
    found += _list_versions(image, reader)
    symbols = image.find_offset(image.find_value(c.DT_SYMTAB) or 0) or 0
    for number in range(4):
        found += _list_table(f"Sym {number}", symbols + 24 * number, SYMBOL)
    for number in range(min(image.header.shnum, 8)):
        offset = image.header.shoff + number * 64
        found += _list_table(f"Shdr {number}", offset, (4, 4, 8, 8, 8, 8, 4, 4, 8, 8))
    return found


def _list_hashes(image: Image) -> Iterator[Field]:
    for tag, count in ((c.DT_GNU_HASH, 12), (c.DT_HASH, 8)):
        offset = image.find_offset(image.find_value(tag) or 0)
        if offset is not None:
            yield from _list_table(f"hash {tag:#x}", offset, (4,) * count)


def _list_versions(image: Image, reader: BytesReader) -> Iterator[Field]:
    needs, definitions = read_verneed(reader, image), read_verdef(reader, image)
    for tag, exists, shapes in (
        (c.DT_VERNEED, needs, (VERNEED, VERNAUX)), (c.DT_VERDEF, definitions, (VERDEF, VERDAUX)),
    ):  # fmt: skip
        offset = image.find_offset(image.find_value(tag) or 0)
        if exists and offset is not None:
            yield from _list_table(f"version {tag:#x}", offset, shapes[0])
            yield from _list_table(f"version {tag:#x} aux", offset + sum(shapes[0]), shapes[1])
    offset = image.find_offset(image.find_value(c.DT_VERSYM) or 0)
    if offset is not None:
        yield from _list_table("versym", offset, (2,) * 4)


def replace_by_extremes(data: bytes, field: Field) -> Iterator[bytes]:
    """Yield the file with each extreme value in place of one number."""
    code = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}[field.size]
    top = 1 << 8 * field.size
    (current,) = struct.unpack_from(code, data, field.offset)
    values = {0, 1, top - 1, top - 2, top // 2, top // 2 - 1, current + 1, current - 1, len(data)}
    for value in sorted({v % top for v in values} - {current}):
        changed = bytearray(data)
        struct.pack_into(code, changed, field.offset, value)
        yield bytes(changed)
