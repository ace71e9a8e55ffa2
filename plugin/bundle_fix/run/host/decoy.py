"""Decoys: the smallest shared objects that a loader accepts, with a soname and nothing else.

A decoy has no symbols and no code. An object that needs one therefore fails as with a library that
is too old, and dlopen(3) of a decoy succeeds, but dlsym(3) finds nothing. No compiler is required.
Whoever opens a decoy is seen by the kernel's record (`bundle_fix.run.record.watch`).

Source: the System V gABI, chapters 4 and 5.
"""

from __future__ import annotations

import os

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Header, Segment
from bundle_fix.elf.symbols.hashes import get_sysv_word_size

IDENT_SIZE = 16
ALIGNMENT = 0x10000
"""The largest page size of Linux machines, in bytes."""
SMALL_CLASS, LARGE_CLASS = 1, 2
LITTLE_ENDIAN, BIG_ENDIAN = 1, 2


def build_decoy(soname: str, like: Image) -> bytes:
    """Return the bytes of a decoy of ``soname`` that a process of ``like`` can load."""
    layout, size = like.format, IDENT_SIZE + like.format.header.size
    segments_end = size + 3 * layout.segment.size
    tags = (c.DT_SONAME, c.DT_HASH, c.DT_STRTAB, c.DT_SYMTAB, c.DT_STRSZ, c.DT_SYMENT, c.DT_NULL)
    dynamic = _align(segments_end)
    symbols = dynamic + len(tags) * layout.dynamic.size
    hashes = symbols + layout.symbol_size
    table = _build_hash_table(like)
    strings = hashes + len(table)
    text = b"\0" + os.fsencode(soname) + b"\0"
    end = strings + len(text)
    values = (1, hashes, strings, symbols, len(text), layout.symbol_size, 0)
    # glibc before 2.35 writes into the dynamic section, so the segment must be writable.
    load = Segment(c.PT_LOAD, c.PF_R | c.PF_W, 0, 0, 0, end, end, ALIGNMENT)
    size_of_dynamic = symbols - dynamic
    pointer = Segment(
        c.PT_DYNAMIC, c.PF_R | c.PF_W, dynamic, dynamic, dynamic, size_of_dynamic,
        size_of_dynamic, 8,
    )  # fmt: skip
    # Without PT_GNU_STACK the loader would make the stack executable.
    stack = Segment(c.PT_GNU_STACK, c.PF_R | c.PF_W, 0, 0, 0, 0, 0, 16)
    head = _build_header(like) + b"".join(map(layout.pack_segment, (load, pointer, stack)))
    entries = b"".join(layout.dynamic.pack(*pair) for pair in zip(tags, values, strict=True))
    return head.ljust(dynamic, b"\0") + entries + bytes(layout.symbol_size) + table + text


def _align(offset: int) -> int:
    return -(-offset // 8) * 8


def _build_header(like: Image) -> bytes:
    layout = like.format
    ident = bytes((
        *b"\x7fELF", LARGE_CLASS if layout.bits == 64 else SMALL_CLASS,
        LITTLE_ENDIAN if layout.order == "little" else BIG_ENDIAN, 1,
    )).ljust(IDENT_SIZE, b"\0")  # fmt: skip
    size = IDENT_SIZE + layout.header.size
    # The flags name the ABI of some machines (ARM, RISC-V), which the loader compares.
    header = Header(
        c.ET_DYN, like.header.machine, 1, 0, size, 0, like.header.flags, size,
        layout.segment.size, 3, layout.section.size, 0, 0,
    )  # fmt: skip
    return ident + layout.header.pack(*header)


def _build_hash_table(like: Image) -> bytes:
    """Return DT_HASH with one empty bucket and the null symbol; musl requires a table."""
    width = get_sysv_word_size(like)
    return b"".join(number.to_bytes(width, like.format.order) for number in (1, 1, 0, 0))
