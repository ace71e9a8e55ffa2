"""The operating system that an ELF file is built for, if it is not Linux.

A package for several systems contains objects for each of them; Linux programs use none of those.
Sources: the gABI's registry of EI_OSABI; the notes of bionic and the BSDs
(``.note.android.ident``, ``.note.openbsd.ident``, ...), which their linkers put into every file.
"""

from __future__ import annotations

import re

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_notes
from bundle_fix.model.content import Reader

LINUX_ABIS = frozenset({0, 3, 97})
"""Values of EI_OSABI on Linux: System V, GNU, and that of old ARM objects."""
SYSTEMS_BY_ABI = {
    1: "HP-UX", 2: "NetBSD", 4: "the Hurd", 6: "Solaris", 7: "AIX", 8: "IRIX", 9: "FreeBSD",
    10: "Tru64", 12: "OpenBSD", 51: "NVIDIA GPUs", 64: "AMD GPUs",
    255: "no system",
}  # fmt: skip
"""Systems by EI_OSABI; 255 is a program without an operating system."""
SYSTEMS_BY_NOTE = {
    b"Android\0": "Android", b"FreeBSD\0": "FreeBSD", b"NetBSD\0": "NetBSD",
    b"OpenBSD\0": "OpenBSD", b"DragonFly\0": "DragonFly",
}  # fmt: skip
"""Systems by the owner of a note, with its NUL."""
OTHER_LIBC = re.compile(r"libc\.so(\.(?!6(\.1)?$)\d+)*")
"""Sonames of C libraries other than glibc's libc.so.6; among them is musl's, which has no note."""


def find_foreign_abi(image: Image) -> str | None:
    """Return the system that the header names, or None for Linux; glibc's loader refuses others."""
    if image.os_abi in LINUX_ABIS:
        return None
    return SYSTEMS_BY_ABI.get(image.os_abi, f"system {image.os_abi}")


def find_foreign_system(reader: Reader, image: Image) -> str | None:
    """Return the system that a file is built for, or None if it is Linux or unknown."""
    # Reading notes costs another read: needed only if the C library may be another system's.
    named = find_foreign_abi(image)
    if named is not None or not any(map(OTHER_LIBC.fullmatch, image.needed)):
        return named
    owners = (SYSTEMS_BY_NOTE.get(note.name) for note in read_notes(reader, image))
    return next((owner for owner in owners if owner), None)
