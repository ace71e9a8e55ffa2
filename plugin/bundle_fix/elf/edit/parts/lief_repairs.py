"""Repairs of what LIEF writes beside the requested changes.

LIEF sorts the symbols and rebuilds their hash table, in which it leaves out undefined symbols with
an address (entries of a program's procedure linkage table, the addresses of functions). The tables
keep their places, so their old bytes are put back, with the offsets of names in LIEF's strings.
LIEF gives the program headers a whole gap between two segments; the rest of it is given back. What
follows the loaded bytes (debug information, static symbols, section headers, appended data) is
copied from the original: LIEF sorts some of it and overwrites other parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.elf.read.strings import find_string_table, get_string
from bundle_fix.elf.read.structs import Section
from bundle_fix.elf.symbols.relocations import TABLES
from bundle_fix.elf.symbols.symbol_table import read_name_offsets
from bundle_fix.elf.symbols.tables import find_movable_tables
from bundle_fix.model.content import CHUNK, PathContent, Reader, read_exactly
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import Patch

NUMBERED = (c.DT_HASH, c.DT_GNU_HASH, c.DT_VERSYM)
"""Tables that refer to symbols by number; relocations do so as well."""
IDENT_SIZE = 16
"""The size of e_ident, after which the fields of the ELF header begin."""
TAIL_ALIGNMENT = 4096
"""The file offsets of what follows the loaded bytes keep their place in a page."""


def repair_rewritten_file(source: Path, target: Path) -> None:
    """Repair ``target``, which LIEF wrote from ``source``.

    Raises:
        DamagedElfError: one of the files is damaged.
        CannotEditError: a section of the original file has no place in the new one.
    """
    with _open(source) as before:
        old = read_image(before)
        with _open(target) as after:
            new = read_image(after)
            patches = [*_restore_symbols(before, old, after, new), *_restore_sizes(old, new)]
        with target.open("r+b") as file:
            for patch in patches:
                file.seek(patch.offset)
                file.write(patch.data)
            _restore_tail(before, old, new, file)


def _open(path: Path) -> AbstractContextManager[Reader]:
    return PathContent(path, path.stat().st_size).open()


def _restore_symbols(before: Reader, old: Image, after: Reader, new: Image) -> Iterator[Patch]:
    """Yield the old tables of symbols, hashes, version indices and relocations."""
    spans = dict(_list_spans(before, old))
    names, new_names = read_name_offsets(before, old), read_name_offsets(after, new)
    if any(old.find_value(tag) != new.find_value(tag) for tag in spans) or not names:
        return
    tables = [find_string_table(image) for image in (old, new)]
    strings = [
        read_exactly(r, *t) if t else None for r, t in zip((before, after), tables, strict=True)
    ]
    if strings[0] is None or strings[1] is None:
        return
    offsets = {get_string(strings[1], at): at for at in new_names}
    size = old.format.symbol_size
    symbols = bytearray(before.pread(spans[c.DT_SYMTAB][0], len(names) * size))
    for number, at in enumerate(names):
        offset = offsets.get(get_string(strings[0], at))
        if offset is None:
            return  # LIEF renamed a symbol: the verifier decides.
        # st_name comes first in both classes.
        symbols[number * size : number * size + 4] = offset.to_bytes(4, old.format.order)
    for tag, (start, length) in spans.items():
        place = new.find_offset(new.find_value(tag) or 0)
        if place is not None:
            data = symbols if tag == c.DT_SYMTAB else before.pread(start, length)
            yield Patch(place, bytes(data))


def _list_spans(reader: Reader, image: Image) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the tag of each table to restore, with its file offset and size."""
    for table in find_movable_tables(reader, image):
        if table.tag in NUMBERED:
            yield table.tag, (table.offset, table.size)
    sizes = {tag: image.find_value(size) or 0 for tag, size in TABLES}
    for tag, size in {c.DT_SYMTAB: 0, **sizes}.items():
        address = image.find_value(tag)
        if address is None or not (size or tag == c.DT_SYMTAB):
            continue
        start = image.find_offset(address)
        if start is None:
            raise DamagedElfError(f"no loaded segment contains the table of dynamic tag {tag:#x}")
        yield tag, (start, size)


def _restore_sizes(old: Image, new: Image) -> Iterator[Patch]:
    """Yield the program headers of segments to which LIEF gave other sizes than they need.

    Those with the table of program headers end with it, and the dynamic section keeps its size.
    """
    layout = new.format.segment
    start = new.header.phoff
    end = start + layout.size * len(new.segments)
    ends = {s.vaddr: s.file_end for s in old.find_loads()}
    dynamic = next(s for s in old.segments if s.type == c.PT_DYNAMIC)
    for number, s in enumerate(new.segments):
        is_extended = s.type == c.PT_LOAD and ends.get(s.vaddr, start + 1) <= start < s.file_end
        size = s.filesz
        if s.file_end > end and (is_extended or s.type == c.PT_PHDR):
            size = end - s.offset
        elif s.type == c.PT_DYNAMIC and s.vaddr == dynamic.vaddr:
            size = max(size, dynamic.filesz)
        if size != s.filesz:
            patch = new.format.pack_segment(s._replace(filesz=size, memsz=size))
            yield Patch(start + number * layout.size, patch)


def _restore_tail(before: Reader, old: Image, new: Image, file: IO[bytes]) -> None:
    """Write the original's bytes after the last loaded one, and its section headers, adapted."""
    table_end = new.header.phoff + new.format.segment.size * len(new.segments)
    end = max(table_end, *(s.file_end for s in new.find_loads()))
    tail = max(s.file_end for s in old.find_loads())
    shift = max(0, -(-(end - tail) // TAIL_ALIGNMENT) * TAIL_ALIGNMENT)
    file.truncate(end)
    file.seek(tail + shift)
    for start in range(tail, before.size, CHUNK):
        file.write(before.pread(start, min(CHUNK, before.size - start)))
    file.truncate(before.size + shift)
    sections = read_sections(before, old.format, old.header)
    if sections and old.header.shoff < tail:
        raise CannotEditError("its section headers lie before loaded bytes")
    file.seek(old.header.shoff + shift)
    for section in sections:
        file.write(old.format.section.pack(*_move_section(section, old, new, tail, shift)))
    header = old.header._replace(
        phoff=new.header.phoff,
        phnum=new.header.phnum,
        shoff=old.header.shoff + shift if old.header.shoff else 0,
    )
    file.seek(IDENT_SIZE)
    file.write(old.format.header.pack(*header))


def _move_section(section: Section, old: Image, new: Image, tail: int, shift: int) -> Section:
    """Return a section header of the original with its place in the new file."""
    strings = find_string_table(new)
    if section.type == c.SHT_STRTAB and section.addr == old.find_value(c.DT_STRTAB) and strings:
        address = new.find_value(c.DT_STRTAB) or 0
        return section._replace(addr=address, offset=strings[0], size=strings[1])
    if section.type == c.SHT_DYNAMIC:
        dynamic = next(s for s in new.segments if s.type == c.PT_DYNAMIC)
        if dynamic.vaddr == section.addr:
            return section
        return section._replace(addr=dynamic.vaddr, offset=dynamic.offset, size=dynamic.filesz)
    if section.flags & c.SHF_ALLOC and section.type == c.SHT_NOBITS:
        return section
    if not section.flags & c.SHF_ALLOC:
        return section._replace(offset=section.offset + (shift if section.offset >= tail else 0))
    offset = new.find_offset(section.addr)
    return section if offset is None else section._replace(offset=offset)
