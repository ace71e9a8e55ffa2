"""Whether a file opens libraries with RTLD_DEEPBIND, as far as its code shows.

The mode of dlopen(3) is its second argument: on x86-64 a constant that is put into ``esi`` shortly
before the call. What is worked out at run time cannot be told.
Sources: the x86-64 psABI (arguments, procedure linkage tables); glibc's bits/dlfcn.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from struct import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.segments import code
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.read.structs import Segment
from bundle_fix.elf.symbols.hashes import count_symbols
from bundle_fix.model.content import CHUNK, Reader, read_exactly

DT_PLTRELSZ, DT_RELASZ = 2, 8
RELOCATIONS = ((c.DT_JMPREL, DT_PLTRELSZ), (c.DT_RELA, DT_RELASZ))
RELA, SYMBOL = Struct("<Q4xI8x"), Struct("<IxxH16x")
"""Of an Elf64_Rela the place and the symbol's number; of an Elf64_Sym the name and the section."""
MODE = re.compile(rb"\xbe[\x09-\x0b\x0d-\x0f][\x00\x01]\x00\x00")
"""``mov esi, mode`` with RTLD_DEEPBIND in the mode, which has RTLD_NOW or RTLD_LAZY as well."""
NEAR = 48
"""Bytes of code between the mode and the call."""
CALLS = re.compile(rb"(?=(?:\xe8|\xff\x15|\xe9|\xff\x25)(.{4}))", re.DOTALL)
"""``call`` and ``jmp``, of a function and through a pointer; four bytes say how far on. Where an
instruction begins is not known, so each place is tried."""
JUMP = b"\xff\x25"
"""``jmp`` through a pointer: what a stub of the linkage table does, behind ``endbr64`` and ``bnd``
where it is built with them."""
BEFORE_JUMP = (0, 1, 4, 5)
"""Bytes of a stub before its jump."""
MAX_RELOCATIONS = MAX_STRINGS = 64 << 20
MAX_MODES = 20_000
MAX_CODE = 4 << 20
"""Modes in a piece of code, and bytes of code in a segment, that are looked at."""


def opens_deepbound(reader: Reader, image: Image) -> bool:
    """Whether some call of dlopen has RTLD_DEEPBIND in its mode."""
    slots = frozenset(_slots(reader, image)) if image.machine == "x86_64" else frozenset()
    if not slots:
        return False
    targets = slots.union(*(_stubs(reader, segment, slots) for segment in code(image)))
    return any(_calls(reader, segment, targets) for segment in code(image))


def _slots(reader: Reader, image: Image) -> Iterator[int]:
    """The addresses of the pointers to dlopen that the loader fills in."""
    number = _dlopen_number(reader, image)
    for tag, size_tag in RELOCATIONS if number else ():
        address = image.find_value(tag)
        offset = None if address is None else image.find_offset(address)
        size = min(image.find_value(size_tag) or 0, MAX_RELOCATIONS)
        raw = None if offset is None else read_exactly(reader, offset, size - size % RELA.size)
        yield from (at for at, symbol in RELA.iter_unpack(raw or b"") if symbol == number)


def _dlopen_number(reader: Reader, image: Image) -> int | None:
    """The number of the dynamic symbol dlopen, where the file uses it."""
    table, symbols = find_string_table(image), image.find_value(c.DT_SYMTAB)
    start = None if symbols is None else image.find_offset(symbols)
    if table is None or start is None or image.format.bits != 64:
        return None
    place = reader.pread(table[0], min(table[1], MAX_STRINGS)).find(b"\0dlopen\0") + 1
    if not place:
        return None
    raw = reader.pread(start, count_symbols(reader, image) * SYMBOL.size)
    names = SYMBOL.iter_unpack(raw[: len(raw) - len(raw) % SYMBOL.size])
    found = (n for n, (name, section) in enumerate(names) if (name, section) == (place, 0))
    return next(found, None)


def _stubs(reader: Reader, segment: Segment, slots: frozenset[int]) -> Iterator[int]:
    """The addresses of the stubs that jump through one of the slots."""
    for base, piece in _pieces(reader, segment):
        at = piece.find(JUMP)
        while 0 <= at < len(piece) - 5:
            end = at + len(JUMP) + 4
            if base + end + int.from_bytes(piece[end - 4 : end], "little", signed=True) in slots:
                yield from (base + at - before for before in BEFORE_JUMP)
            at = piece.find(JUMP, at + 1)


def _calls(reader: Reader, segment: Segment, targets: frozenset[int]) -> bool:
    """Whether what is called next after a mode with RTLD_DEEPBIND is one of the targets."""
    for base, piece in _pieces(reader, segment):
        for mode in islice(MODE.finditer(piece), MAX_MODES):
            for call in CALLS.finditer(piece, mode.end(), mode.end() + NEAR):
                far = int.from_bytes(call[1], "little", signed=True)
                target = base + call.end(1) + far
                if target in targets:
                    return True
                if segment.vaddr <= target < segment.memory_end:
                    break  # Another function: the mode was its argument.
    return False


def _pieces(reader: Reader, segment: Segment) -> Iterator[tuple[int, bytes]]:
    """A segment's bytes with their addresses; each piece has the beginning of the next as well."""
    size = min(segment.filesz, MAX_CODE)
    for at in range(0, size, CHUNK):
        piece = reader.pread(segment.offset + at, min(CHUNK + NEAR, size - at))
        yield segment.vaddr + at, piece
