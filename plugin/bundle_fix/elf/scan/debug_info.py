"""Whether an ELF file has debug information in it, told by the names of its sections."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_named_sections
from bundle_fix.model.content import Reader

DEBUG_SECTIONS = (".debug", ".zdebug", ".stab", ".gdb_index", ".gnu.debuglto_")
"""How the names of sections begin that only debuggers read (binutils' bfd/elf.c)."""
BUILD_ID_DIRECTORY, DEBUG_DIRECTORY = ".build-id", ".debug"
"""The folders in which gdb looks for debug information: by build-id, and beside each object."""
SYSTEM_DEBUG_DIRECTORY = Path("/usr/lib/debug")
"""Where a machine has the debug information of what is installed."""
DEBUG_SUFFIX = ".debug"
DEBUGLINK, ALTLINK = ".gnu_debuglink", ".gnu_debugaltlink"


def has_debug_information(reader: Reader, image: Image) -> bool:
    """Whether a program or a library has what `strip --strip-debug` removes.

    A file that holds nothing but debug information, as one that was split off, has none to give.
    """
    if image.header.type not in (c.ET_EXEC, c.ET_DYN):
        return False
    if is_debug_only(reader, image):
        return False
    found = read_named_sections(reader, image)
    return any(n.startswith(DEBUG_SECTIONS) and not s.flags & c.SHF_ALLOC for n, s in found)


def is_debug_only(reader: Reader, image: Image) -> bool:
    """Whether what the file would have to run is there in name only, as in one that was split off.

    Such a file cannot be run or loaded.
    """
    found = read_named_sections(reader, image)
    code = [s.type for _, s in found if s.flags & c.SHF_ALLOC and s.flags & c.SHF_EXECINSTR]
    return bool(code) and all(kind == c.SHT_NOBITS for kind in code)


def has_debuglink(reader: Reader, image: Image) -> bool:
    """Whether the file names another one that has its debug information."""
    return any(name == DEBUGLINK for name, _ in read_named_sections(reader, image))
