"""The section headers of an ELF file, which the loader does not read but debuggers and strip do.

Source: the System V gABI, chapter 4, "Sections".
"""

from __future__ import annotations

import os

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import get_string
from bundle_fix.elf.read.structs import Format, Header, Section
from bundle_fix.model.content import Reader, read_exactly

MAX_SECTIONS = 1 << 16
"""Limit of section headers; only object files are known to have more."""
MAX_NAMES = 1 << 24
"""Limit of all section names together, in bytes."""


def read_sections(reader: Reader, fmt: Format, header: Header) -> tuple[Section, ...]:
    """Return the section headers; empty if the file has none or they cannot be read."""
    if header.shoff == 0 or header.shentsize != fmt.section.size:
        return ()
    first = read_exactly(reader, header.shoff, fmt.section.size)
    if first is None:
        return ()
    # The gABI: the number of 0xff00 sections or more is in the first header's sh_size.
    count = header.shnum or Section(*fmt.section.unpack(first)).size
    if count > MAX_SECTIONS:
        return ()
    table = read_exactly(reader, header.shoff, count * fmt.section.size)
    if table is None:
        return ()
    return tuple(Section(*fields) for fields in fmt.section.iter_unpack(table))


def read_named_sections(reader: Reader, image: Image) -> list[tuple[str, Section]]:
    """Return the sections but the null one, each with its name, in the order of their headers."""
    sections = read_sections(reader, image.format, image.header)
    index = image.header.shstrndx
    if index == c.SHN_XINDEX and sections:
        # The gABI: an index of 0xff00 or more is in the first header's sh_link.
        index = sections[0].link
    if index >= len(sections):
        return []
    names = reader.pread(sections[index].offset, min(sections[index].size, MAX_NAMES))
    return [(os.fsdecode(get_string(names, s.name)), s) for s in sections[1:]]


def index_sections(reader: Reader, image: Image) -> dict[str, Section]:
    """Return the sections but the null one by name, in the order of their headers.

    Of several sections of one name, the later ones are called ``NAME#NUMBER``.
    """
    found: dict[str, Section] = {}
    for number, (name, section) in enumerate(read_named_sections(reader, image)):
        found[name if name not in found else f"{name}#{number}"] = section
    return found
