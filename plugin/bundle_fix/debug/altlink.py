"""Debug files that several ELF files share, made by dwz(1).

Each of the ELF files names the shared file in its section `.gnu_debugaltlink`, by a path and a
build-id (the DWARF extension DW_FORM_GNU_ref_alt). gdb tries the path first, relative to the
directory of the file that contains the section.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import find_build_id, parse_notes
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import read_named_sections
from bundle_fix.elf.scan.debug_info import (
    ALTLINK,
    BUILD_ID_DIRECTORY,
    DEBUG_SUFFIX,
    SYSTEM_DEBUG_DIRECTORY,
)
from bundle_fix.model.content import PathContent, Reader
from bundle_fix.model.errors import BundleFixError

MAX_SECTION_SIZE = 1 << 12
"""Bytes of a section that are read: a path or a note with a build-id."""
BUILD_ID_SECTION = ".note.gnu.build-id"


class AltLink(NamedTuple):
    """The contents of `.gnu_debugaltlink`: the path and the build-id of the shared debug file."""

    name: str
    build_id: bytes

    @property
    def pack_path(self) -> str:
        """The path of the shared file in a debug pack."""
        return get_build_id_path(self.build_id.hex())

    def encode_section(self, name: str) -> bytes:
        """Return a `.gnu_debugaltlink` that names the shared file by the path ``name``."""
        return os.fsencode(name) + b"\0" + self.build_id


def get_build_id_path(build_id: str) -> str:
    """Return the path at which gdb looks for a debug file by its build-id, in hexadecimal.

    The path is relative to one of gdb's debug directories.
    """
    return f"{BUILD_ID_DIRECTORY}/{build_id[:2]}/{build_id[2:]}{DEBUG_SUFFIX}"


def read_altlink(reader: Reader, image: Image) -> AltLink | None:
    """Return the reference of an ELF file to a shared debug file, or None if it has none."""
    path, _, build_id = _read_section(reader, image, ALTLINK).partition(b"\0")
    return AltLink(os.fsdecode(path), build_id) if len(build_id) > 1 else None


def find_shared_file(altlink: AltLink, directory: Path) -> PathContent | None:
    """Return the shared debug file on this machine, or None if it is not found.

    A file with another build-id is skipped: it belongs to another build.

    Args:
        altlink: the reference to the shared file.
        directory: the directory of the ELF file that contains the reference.
    """
    for path in (directory / altlink.name, SYSTEM_DEBUG_DIRECTORY / altlink.pack_path):
        real = Path(os.path.realpath(path))
        if real.is_file():
            content = PathContent(real, real.stat().st_size)
            if _read_section_build_id(content) == altlink.build_id.hex():
                return content
    return None


def _read_section_build_id(content: PathContent) -> str | None:
    """Return the build-id in the section headers: a file made by dwz has no program headers."""
    try:
        with content.open() as reader:
            image = read_image(reader)
            data = _read_section(reader, image, BUILD_ID_SECTION)
            return find_build_id(parse_notes(data, image.format, 4))
    except BundleFixError:
        return None


def _read_section(reader: Reader, image: Image, name: str) -> bytes:
    """Return the bytes of the section ``name``; empty if there is no such section."""
    section = dict(read_named_sections(reader, image)).get(name)
    return reader.pread(section.offset, min(section.size, MAX_SECTION_SIZE)) if section else b""
