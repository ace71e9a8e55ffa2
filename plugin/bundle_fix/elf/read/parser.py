"""The parser of ELF files: header, program headers, dynamic section and its strings.

It runs on every file of every check, so it reads with a few `pread` calls, needs no section
headers, and trusts no number of the file: everything is bounded by the file's size.
Source: the System V gABI, chapters 4 and 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import MAX_STRING, find_string_table, get_string, read_string
from bundle_fix.elf.read.structs import Format, Header, Segment, get_elf_format
from bundle_fix.model.content import Content, PathContent, Reader, read_exactly
from bundle_fix.model.errors import BundleFixError, DamagedElfError

MAGIC = b"\x7fELF"
IDENT_SIZE = 16
MAX_HEADER = IDENT_SIZE + 48
"""The size of the ELF header of the 64-bit class; that of the 32-bit class is shorter."""
MAX_DYNAMIC = 1 << 20
"""Limit of a dynamic section, in bytes; the largest known have a few thousand."""
MAX_NEEDED = 1 << 20
"""Limit of all needed names together, in bytes."""
MAX_SEGMENTS = 1 << 12
"""Limit of program headers; Linux starts no program with more than 1,170 of them."""

ORDERS: dict[int, Literal["little", "big"]] = {1: "little", 2: "big"}
"""Byte orders by e_ident[EI_DATA]."""
CLASSES = {1: 32, 2: 64}
"""Bits of an address by e_ident[EI_CLASS]."""


def is_elf(reader: Reader) -> bool:
    """Return whether the content begins as an ELF file does."""
    return reader.pread(0, 4) == MAGIC


def read_image_at(path: Path) -> Image | None:
    """Read the ELF file at ``path``, symlinks followed; return None if it is not one.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    if not real.is_file():
        return None
    return read_image_of(PathContent(real, real.stat().st_size), str(real))


def read_image_of(content: Content, where: str) -> Image | None:
    """Read an ELF file; return None for a file of another kind.

    Args:
        content: the file's bytes.
        where: its name, for messages.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    with content.open() as reader:
        return read_image_from(reader, where)


def read_image_from(reader: Reader, where: str) -> Image | None:
    """Read an ELF file that is open; see `read_image_of`."""
    if not is_elf(reader):
        return None
    try:
        return read_image(reader)
    except DamagedElfError as error:
        raise BundleFixError(
            f"the ELF file is damaged: {error.message}",
            where=where,
            hint="replace it by an undamaged copy",
        ) from error


def read_image(reader: Reader) -> Image:
    """Read the header, the program headers and the dynamic section.

    Raises:
        DamagedElfError: a header is invalid, or the dynamic section cannot be read.
    """
    ident = reader.pread(0, MAX_HEADER)
    fmt, header = parse_header(ident)
    # Object and core files may have thousands of program headers, and the loader loads neither.
    if header.type not in (c.ET_EXEC, c.ET_DYN):
        return Image(fmt, header, (), reader.size, os_abi=ident[7])
    segments = _read_segments(reader, fmt, header)
    return _add_dynamic(reader, Image(fmt, header, segments, reader.size, os_abi=ident[7]))


def parse_header(ident: bytes) -> tuple[Format, Header]:
    """Parse the first `MAX_HEADER` bytes of an ELF file.

    Raises:
        DamagedElfError: the header is invalid or truncated.
    """
    if len(ident) < IDENT_SIZE or ident[:4] != MAGIC:
        raise DamagedElfError("the ELF header is truncated")
    if ident[4] not in CLASSES or ident[5] not in ORDERS:
        raise DamagedElfError(f"invalid ELF class {ident[4]} or byte order {ident[5]}")
    fmt = get_elf_format(CLASSES[ident[4]], ORDERS[ident[5]])
    raw = ident[IDENT_SIZE : IDENT_SIZE + fmt.header.size]
    if len(raw) < fmt.header.size:
        raise DamagedElfError("the ELF header is truncated")
    return fmt, Header(*fmt.header.unpack(raw))


def _read_segments(reader: Reader, fmt: Format, header: Header) -> tuple[Segment, ...]:
    if header.phoff == 0 or header.phnum == 0:
        return ()
    count = header.phnum
    if count > MAX_SEGMENTS:
        raise DamagedElfError(f"it has {count} program headers; the limit is {MAX_SEGMENTS}")
    if header.phentsize != fmt.segment.size:
        raise DamagedElfError(
            f"invalid size of a program header: {header.phentsize} bytes, expected"
            f" {fmt.segment.size}"
        )
    table = read_exactly(reader, header.phoff, count * fmt.segment.size)
    if table is None:
        raise DamagedElfError(
            f"its {count} program headers at offset {header.phoff} lie beyond the file's"
            f" {reader.size} bytes"
        )
    step = fmt.segment.size
    return tuple(fmt.unpack_segment(table[i : i + step]) for i in range(0, len(table), step))


def _add_dynamic(reader: Reader, image: Image) -> Image:
    segment = next((s for s in image.segments if s.type == c.PT_DYNAMIC), None)
    if segment is None or segment.filesz == 0:
        return image
    # Split debug files keep the program headers of their program, but hold other bytes at the
    # offset of its dynamic section. A real dynamic section always has a string table.
    try:
        entries = _read_dynamic_entries(reader, image.format, segment)
        complete = _add_strings(reader, image, entries)
    except DamagedElfError:
        if _has_no_dynamic_bytes(reader, image, segment):
            return image
        raise
    if complete.find_value(c.DT_STRTAB) is None and _has_no_dynamic_bytes(reader, image, segment):
        return image
    return complete


def _has_no_dynamic_bytes(reader: Reader, image: Image, dynamic: Segment) -> bool:
    """Return whether the section at the dynamic segment's address is empty, as in debug files."""
    sections = read_sections(reader, image.format, image.header)
    return any(s.type == c.SHT_NOBITS and s.addr == dynamic.vaddr for s in sections)


def _read_dynamic_entries(
    reader: Reader, fmt: Format, segment: Segment
) -> tuple[DynamicEntry, ...]:
    data = read_exactly(reader, segment.offset, min(segment.filesz, MAX_DYNAMIC))
    if data is None:
        raise DamagedElfError(
            f"its dynamic section ({segment.filesz} bytes at offset {segment.offset}) lies beyond"
            f" the file's {reader.size} bytes"
        )
    entries = []
    whole = len(data) - len(data) % fmt.dynamic.size
    for tag, value in fmt.dynamic.iter_unpack(data[:whole]):
        if tag == c.DT_NULL:
            break
        entries.append(DynamicEntry(tag, value))
    return tuple(entries)


def _add_strings(reader: Reader, image: Image, entries: tuple[DynamicEntry, ...]) -> Image:
    with_entries = replace(image, dynamic=entries)
    table = find_string_table(with_entries)
    if table is None:
        if any(e.tag in c.STRING_TAGS for e in entries):
            raise DamagedElfError(
                "no loaded segment contains the string table of its dynamic section"
            )
        return replace(with_entries, interpreter=_read_interpreter(reader, image))
    start, size = table
    if start + size > reader.size:
        raise DamagedElfError(
            f"its dynamic string table ({size} bytes at offset {start}) lies beyond the file's"
            f" {reader.size} bytes"
        )

    def read_text(offset: int) -> str:
        return os.fsdecode(read_string(reader, table, offset))

    def read_single(tag: int) -> str | None:
        value = with_entries.find_value(tag)
        return None if value is None else read_text(value)

    return replace(
        with_entries,
        interpreter=_read_interpreter(reader, image),
        soname=read_single(c.DT_SONAME),
        needed=_read_needed(read_text, entries),
        rpath=read_single(c.DT_RPATH),
        runpath=read_single(c.DT_RUNPATH),
    )


def _read_needed(
    read_text: Callable[[int], str], entries: tuple[DynamicEntry, ...]
) -> tuple[str, ...]:
    names, total = [], 0
    for entry in entries:
        if entry.tag == c.DT_NEEDED:
            names.append(read_text(entry.value))
            total += len(names[-1])
            # Names may overlap, so the size of their table does not bound them.
            if total > MAX_NEEDED:
                raise DamagedElfError(f"its needed names exceed the limit of {MAX_NEEDED} bytes")
    return tuple(names)


def _read_interpreter(reader: Reader, image: Image) -> str | None:
    segment = next((s for s in image.segments if s.type == c.PT_INTERP), None)
    if segment is None:
        return None
    size = min(segment.filesz, MAX_STRING + 1)
    data = read_exactly(reader, segment.offset, size)
    if data is None or size > MAX_STRING:
        raise DamagedElfError(
            f"the name of its interpreter lies beyond the file, or exceeds {MAX_STRING} bytes"
        )
    return os.fsdecode(get_string(data, 0))
