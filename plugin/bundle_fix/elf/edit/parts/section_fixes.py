"""Repairs of section headers that other programs wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import index_sections
from bundle_fix.elf.read.structs import Section
from bundle_fix.model.content import FileReader
from bundle_fix.model.errors import DamagedElfError


def rewrite_section_headers(path: Path, change: Callable[[str, Image, Section], Section]) -> None:
    """Replace every section header of a file by what ``change`` returns for its name.

    Raises:
        CannotEditError: the section headers cannot be read.
    """
    with path.open("r+b") as file:
        reader = FileReader(file.fileno(), 0, path.stat().st_size)
        try:
            image = read_image(reader)
            sections = index_sections(reader, image)
        except DamagedElfError as error:
            raise CannotEditError(f"its section headers cannot be read: {error.message}") from error
        layout = image.format.section
        for number, (name, section) in enumerate(sections.items(), 1):
            new = change(name, image, section)
            if new != section:
                file.seek(image.header.shoff + number * layout.size)
                file.write(layout.pack(*new))
