"""Detection of debug information in an ELF file, by the names of its sections."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_named_sections
from bundle_fix.model.content import Reader

DEBUG_SECTIONS = (".debug", ".zdebug", ".stab", ".gdb_index", ".gnu.debuglto_")
"""Prefixes of the names of sections that only debuggers read (binutils' bfd/elf.c)."""
BUILD_ID_DIRECTORY, DEBUG_DIRECTORY = ".build-id", ".debug"
"""The directories in which gdb looks for debug information: by build-id, and beside objects."""
SYSTEM_DEBUG_DIRECTORY = Path("/usr/lib/debug")
"""The directory with the debug information of installed packages."""
DEBUG_SUFFIX = ".debug"
DEBUGLINK, ALTLINK = ".gnu_debuglink", ".gnu_debugaltlink"


def has_debug_information(reader: Reader, image: Image) -> bool:
    """Return whether `strip --strip-debug` would remove something from a program or library.

    It would not from a split debug file, which contains nothing else.
    """
    if image.header.type not in (c.ET_EXEC, c.ET_DYN):
        return False
    if is_debug_only(reader, image):
        return False
    found = read_named_sections(reader, image)
    return any(n.startswith(DEBUG_SECTIONS) and not s.flags & c.SHF_ALLOC for n, s in found)


def is_debug_only(reader: Reader, image: Image) -> bool:
    """Return whether the file is a split debug file: its code sections have no bytes.

    Such a file cannot be run or loaded.
    """
    found = read_named_sections(reader, image)
    code = [s.type for _, s in found if s.flags & c.SHF_ALLOC and s.flags & c.SHF_EXECINSTR]
    return bool(code) and all(kind == c.SHT_NOBITS for kind in code)


def has_debuglink(reader: Reader, image: Image) -> bool:
    """Return whether the file names a split debug file (``.gnu_debuglink``)."""
    return any(name == DEBUGLINK for name, _ in read_named_sections(reader, image))
