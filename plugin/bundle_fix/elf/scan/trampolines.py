"""Code that a program writes to its stack and runs there: trampolines for nested functions.

GCC and LLVM build one when the address of a nested function is taken (C, Ada, Fortran, Pascal); the
linker then asks for an executable stack. It also does so if an assembler file has no
.note.GNU-stack section, although its code needs none.
Sources: GCC's ix86_trampoline_init and aarch64_trampoline_init, LLVM's LowerINIT_TRAMPOLINE.
"""

from __future__ import annotations

import re
from enum import Enum

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.model.content import CHUNK, Reader

X86_64, AARCH64 = 62, 183
PATTERNS = {
    # The end of a trampoline as a constant: "jmp *%r11" (49 ff e3), which compilers write at once
    # or as 49 ff and e3, by a store or through a register. As code it would be 41 ff e3.
    X86_64: re.compile(
        rb"\x49\xff\xe3|\x66\xc7.{1,6}\x49\xff|[\xb8-\xbf]\x49\xff(?:\0\0|\xff\xff)", re.DOTALL
    ),
    # The template of a trampoline: ldr x17, literal; ldr of the static chain, literal; br x17.
    AARCH64: re.compile(
        rb"[\x11\x31\x51\x71\x91\xb1\xd1\xf1]..\x58...\x58\x20\x02\x1f\xd6", re.DOTALL
    ),
}
"""The traces of trampolines in code, by e_machine."""
LONGEST = 16
"""Bytes that the longest match has at most."""


class StackUse(Enum):
    """Whether the code of a file runs code on the stack."""

    NO_TRAMPOLINES = "no trampolines"
    TRAMPOLINES = "trampolines"
    UNKNOWN = "unknown machine"


def find_stack_use(reader: Reader, image: Image) -> StackUse:
    """Return whether a file contains code that builds trampolines.

    A file with a trace may still have none: the result errs on the side of an executable stack.
    """
    pattern = PATTERNS.get(image.header.machine)
    if pattern is None:
        return StackUse.UNKNOWN
    for segment in image.find_loads():
        if segment.flags & c.PF_X == 0:
            continue
        for at in range(segment.offset, segment.file_end, CHUNK):
            data = reader.pread(at, min(CHUNK + LONGEST, segment.file_end - at))
            if pattern.search(data):
                return StackUse.TRAMPOLINES
    return StackUse.NO_TRAMPOLINES
