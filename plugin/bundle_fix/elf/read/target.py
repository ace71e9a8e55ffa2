"""Which system an ELF file is for, where that is not Linux.

Packages for many systems carry objects of each, which no Linux program has anything to do with.
Sources: the gABI's registry of EI_OSABI; bionic's and the BSDs' notes (``.note.android.ident``,
``.note.openbsd.ident``, ...), which their linkers put into every file.
"""

from __future__ import annotations

import re

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_notes
from bundle_fix.model.content import Reader

LINUX_ABIS = frozenset({0, 3, 97})
"""Values of EI_OSABI: System V, GNU, and that of old ARM objects."""
SYSTEMS_BY_ABI = {
    1: "HP-UX", 2: "NetBSD", 4: "the Hurd", 6: "Solaris", 7: "AIX", 8: "IRIX", 9: "FreeBSD",
    10: "Tru64", 12: "OpenBSD", 51: "NVIDIA processors", 64: "AMD processors of graphics",
    255: "no system",
}  # fmt: skip
SYSTEMS_BY_NOTE = {
    b"Android\0": "Android", b"FreeBSD\0": "FreeBSD", b"NetBSD\0": "NetBSD",
    b"OpenBSD\0": "OpenBSD", b"DragonFly\0": "DragonFly",
}  # fmt: skip
"""Systems by the owner of a note."""
OTHER_LIBC = re.compile(r"libc\.so(\.(?!6(\.1)?$)\d+)*")
"""What is needed of a C library other than glibc; musl's is among them, and has no note."""


def find_foreign_abi(image: Image) -> str | None:
    """The system that a file's header says it is for; glibc's loader takes no such file."""
    if image.os_abi in LINUX_ABIS:
        return None
    return SYSTEMS_BY_ABI.get(image.os_abi, f"system {image.os_abi}")


def find_foreign_system(reader: Reader, image: Image) -> str | None:
    """The system that a file is for, or None where that is Linux, or nothing tells.

    Notes are looked for only where the C library that is needed may be another system's.
    """
    named = find_foreign_abi(image)
    if named is not None or not any(map(OTHER_LIBC.fullmatch, image.needed)):
        return named
    owners = (SYSTEMS_BY_NOTE.get(note.name) for note in read_notes(reader, image))
    return next((owner for owner in owners if owner), None)
