"""Debug information that several files share, which dwz(1) moved into one of its own.

Each of them names it in `.gnu_debugaltlink`, by a path and by its build-id (the DWARF extension of
DW_FORM_GNU_ref_alt). gdb looks at the path first, from the folder of the file that names it.
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

MAX_LINK = 1 << 12
"""Bytes of a section that are read: a path, a build-id."""
BUILD_ID_SECTION = ".note.gnu.build-id"


class Shared(NamedTuple):
    """What a file says of the debug information that it shares: its path, and its build-id."""

    name: str
    build_id: bytes

    @property
    def place(self) -> str:
        """Where it lies in a debug pack."""
        return by_build_id(self.build_id.hex())

    def linked(self, name: str) -> bytes:
        """The section of a file for which it is at ``name``."""
        return os.fsencode(name) + b"\0" + self.build_id


def by_build_id(identity: str) -> str:
    """Where gdb looks for debug information by a build-id, given in hexadecimal."""
    return f"{BUILD_ID_DIRECTORY}/{identity[:2]}/{identity[2:]}{DEBUG_SUFFIX}"


def shared_by(reader: Reader, image: Image) -> Shared | None:
    """What a file shares with others; None where it shares nothing."""
    path, _, build_id = _section(reader, image, ALTLINK).partition(b"\0")
    return Shared(os.fsdecode(path), build_id) if len(build_id) > 1 else None


def find_shared(shared: Shared, folder: Path) -> PathContent | None:
    """The file that is shared, as the build machine has it; None where it is nowhere.

    Args:
        shared: what a file says of it.
        folder: where that file is.
    """
    for path in (folder / shared.name, SYSTEM_DEBUG_DIRECTORY / shared.place):
        real = Path(os.path.realpath(path))
        if real.is_file():
            content = PathContent(real, real.stat().st_size)
            if _build_id(content) == shared.build_id.hex():
                return content
    return None


def _build_id(content: PathContent) -> str | None:
    """The build-id in the sections of a file, which has no segments."""
    try:
        with content.open() as reader:
            image = read_image(reader)
            data = _section(reader, image, BUILD_ID_SECTION)
            return find_build_id(parse_notes(data, image.format, 4))
    except BundleFixError:
        return None


def _section(reader: Reader, image: Image, name: str) -> bytes:
    """The bytes of a section; none where there is none of that name."""
    section = dict(read_named_sections(reader, image)).get(name)
    return reader.pread(section.offset, min(section.size, MAX_LINK)) if section else b""
