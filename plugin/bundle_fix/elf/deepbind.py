"""Whether a file opens libraries with RTLD_DEEPBIND, as far as its code shows.

The mode of dlopen(3) is its second argument: on x86-64 a constant that is put into ``esi`` shortly
before the call. What is worked out at run time cannot be told.
Sources: the x86-64 psABI (arguments, procedure linkage tables); glibc's bits/dlfcn.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct

from bundle_fix.content import CHUNK, Reader, read_exactly
from bundle_fix.elf import constants as c
from bundle_fix.elf.hashes import symbol_count
from bundle_fix.elf.image import Image, string_table
from bundle_fix.elf.segments import code
from bundle_fix.elf.structs import Segment

DT_PLTRELSZ, DT_RELASZ = 2, 8
RELOCATIONS = ((c.DT_JMPREL, DT_PLTRELSZ), (c.DT_RELA, DT_RELASZ))
RELA, SYMBOL = Struct("<Q4xI8x"), Struct("<IxxH16x")
"""Of an Elf64_Rela the place and the symbol's number; of an Elf64_Sym the name and the section."""
MODE = re.compile(rb"\xbe([\x08-\x0f][\x00\x01]\x00\x00)")
"""``mov esi, mode`` with RTLD_DEEPBIND in the mode, which has RTLD_NOW or RTLD_LAZY as well."""
NEAR = 48
"""Bytes of code between the mode and the call."""
CALLS = re.compile(rb"(?=(\xe8|\xff\x15|\xe9|\xff\x25)(.{4}))", re.DOTALL)
"""``call`` and ``jmp``, of a function and through a pointer; four bytes say how far on. Where an
instruction begins is not known, so each place is tried."""
INDIRECT = (b"\xff\x15", b"\xff\x25")
MAX_RELOCATIONS = MAX_STRINGS = 64 << 20
MAX_CODE = 256 << 20


def opens_deepbound(reader: Reader, image: Image) -> bool:
    """Whether some call of dlopen has RTLD_DEEPBIND in its mode."""
    slots = frozenset(_slots(reader, image)) if image.machine == "x86_64" else frozenset()
    return bool(slots) and any(_calls(reader, image, segment, slots) for segment in code(image))


def _slots(reader: Reader, image: Image) -> Iterator[int]:
    """The addresses of the pointers to dlopen that the loader fills in."""
    number = _dlopen_number(reader, image)
    for tag, size_tag in RELOCATIONS if number else ():
        address = image.first(tag)
        offset = None if address is None else image.file_offset(address)
        size = min(image.first(size_tag) or 0, MAX_RELOCATIONS)
        raw = None if offset is None else read_exactly(reader, offset, size - size % RELA.size)
        yield from (at for at, symbol in RELA.iter_unpack(raw or b"") if symbol == number)


def _dlopen_number(reader: Reader, image: Image) -> int | None:
    """The number of the dynamic symbol dlopen, where the file uses it."""
    table, symbols = string_table(image), image.first(c.DT_SYMTAB)
    start = None if symbols is None else image.file_offset(symbols)
    if table is None or start is None or image.format.bits != 64:
        return None
    place = reader.pread(table[0], min(table[1], MAX_STRINGS)).find(b"\0dlopen\0") + 1
    if not place:
        return None
    raw = reader.pread(start, symbol_count(reader, image) * SYMBOL.size)
    names = SYMBOL.iter_unpack(raw[: len(raw) - len(raw) % SYMBOL.size])
    found = (n for n, (name, section) in enumerate(names) if (name, section) == (place, 0))
    return next(found, None)


def _calls(reader: Reader, image: Image, segment: Segment, slots: frozenset[int]) -> bool:
    at, end = segment.offset, segment.offset + min(segment.filesz, MAX_CODE)
    while at < end:
        piece = reader.pread(at, min(CHUNK + NEAR, end - at))
        if not piece:
            return False
        for mode in MODE.finditer(piece, 0, CHUNK + 5):
            base = segment.vaddr + at - segment.offset
            for call in CALLS.finditer(piece, mode.end(), mode.end() + NEAR):
                if _target(call, base) in slots or _leads_to(reader, image, call, base, slots):
                    return True
        at += CHUNK
    return False


def _target(call: re.Match[bytes], base: int) -> int:
    return base + call.end(2) + int.from_bytes(call[2], "little", signed=True)


def _leads_to(
    reader: Reader, image: Image, call: re.Match[bytes], base: int, slots: frozenset[int]
) -> bool:
    """Whether a direct call goes to a stub of the linkage table that jumps through a slot."""
    if call[1] in INDIRECT:
        return False
    stub = _target(call, base)
    offset = image.file_offset(stub)
    data = b"" if offset is None else reader.pread(offset, 16)
    return any(
        jump[1] in INDIRECT and _target(jump, stub) in slots for jump in CALLS.finditer(data)
    )
