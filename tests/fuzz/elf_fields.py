"""Where the numbers of an ELF file are: every field of every table that the loader reads."""

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
    """One number: what it is, where it is, and its bytes."""

    name: str
    at: int
    size: int


def _table(name: str, at: int, sizes: tuple[int, ...]) -> Iterator[Field]:
    for number, size in enumerate(sizes):
        yield Field(f"{name}[{number}]", at, size)
        at += size


def fields(data: bytes) -> list[Field]:
    """The numbers of a 64-bit file: headers, dynamic section, hashes, versions, some symbols."""
    reader = BytesReader(data)
    image = read_image(reader)
    found = list(_table("e_ident", 0, (1,) * 16))
    found += _table("Ehdr", 16, (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2))
    for number, segment in enumerate(image.segments):
        at = image.header.phoff + number * 56
        found += _table(f"Phdr {number} (type {segment.type:#x})", at, (4, 4, 8, 8, 8, 8, 8, 8))
    start = next(s.offset for s in image.segments if s.type == c.PT_DYNAMIC)
    for number, entry in enumerate(image.dynamic or ()):
        found += _table(f"Dyn {number} (tag {entry.tag:#x})", start + 16 * number, (8, 8))
    found += _hashes(image)
    found += _versions(image, reader)
    symbols = image.find_offset(image.find_value(c.DT_SYMTAB) or 0) or 0
    for number in range(4):
        found += _table(f"Sym {number}", symbols + 24 * number, SYMBOL)
    for number in range(min(image.header.shnum, 8)):
        at = image.header.shoff + number * 64
        found += _table(f"Shdr {number}", at, (4, 4, 8, 8, 8, 8, 4, 4, 8, 8))
    return found


def _hashes(image: Image) -> Iterator[Field]:
    for tag, count in ((c.DT_GNU_HASH, 12), (c.DT_HASH, 8)):
        at = image.find_offset(image.find_value(tag) or 0)
        if at is not None:
            yield from _table(f"hash {tag:#x}", at, (4,) * count)


def _versions(image: Image, reader: BytesReader) -> Iterator[Field]:
    needs, definitions = read_verneed(reader, image), read_verdef(reader, image)
    for tag, there, shapes in (
        (c.DT_VERNEED, needs, (VERNEED, VERNAUX)), (c.DT_VERDEF, definitions, (VERDEF, VERDAUX)),
    ):  # fmt: skip
        at = image.find_offset(image.find_value(tag) or 0)
        if there and at is not None:
            yield from _table(f"version {tag:#x}", at, shapes[0])
            yield from _table(f"version {tag:#x} aux", at + sum(shapes[0]), shapes[1])
    at = image.find_offset(image.find_value(c.DT_VERSYM) or 0)
    if at is not None:
        yield from _table("versym", at, (2,) * 4)


def extremes(data: bytes, field: Field) -> Iterator[bytes]:
    """The file with each extreme in the place of one number."""
    code = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}[field.size]
    top = 1 << 8 * field.size
    (now,) = struct.unpack_from(code, data, field.at)
    values = {0, 1, top - 1, top - 2, top // 2, top // 2 - 1, now + 1, now - 1, len(data)}
    for value in sorted({v % top for v in values} - {now}):
        changed = bytearray(data)
        struct.pack_into(code, changed, field.at, value)
        yield bytes(changed)
