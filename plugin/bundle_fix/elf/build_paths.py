"""Paths of the machine that built a file, as they stand in its read-only data.

Assertions and log lines carry the names of source files, and a program that was configured with a
prefix carries the folders that it will look into. Only whole strings count, and only below folders
where people and build services work.
"""

from __future__ import annotations

import re

from bundle_fix.content import CHUNK, Reader
from bundle_fix.elf.image import Image, string_table
from bundle_fix.elf.segments import constants

STARTS = (
    b"\0/home/", b"\0/root/", b"\0/Users/", b"\0/builds/", b"\0/workspace/", b"\0/var/lib/jenkins",
    b"\0/tmp/",
)  # fmt: skip
PART = rb"[\w.+@-]+"
SOURCE = rb"\.(?:c|cc|cpp|cxx|c\+\+|h|hh|hpp|hxx|inl|ipp|rs|go|f|f90|s|S|asm)"
PATH = re.compile(
    rb"/(?:(?:home|Users)/[\w-]+(?:/" + PART + rb"){2,}"
    rb"|root/[\w-]" + PART + rb"(?:/" + PART + rb")+"
    rb"|(?:builds|workspace|var/lib/jenkins\w*|tmp)(?:/" + PART + rb")+" + SOURCE + rb")"
)  # fmt: skip
"""A path below somebody's home; elsewhere only one of a source file."""
LONGEST = 1024
MOST = 20
"""Paths that are listed."""


def build_paths(reader: Reader, image: Image) -> tuple[str, ...]:
    """The paths of a build machine in the file, each once, in their order; at most `MOST`."""
    found: dict[str, None] = {}
    # What stands in the dynamic string table is a search path, which other rules look at.
    table = string_table(image) or (0, 0)
    for segment in constants(image):
        at, end = segment.offset, segment.file_end
        while at < end and len(found) < MOST:
            piece = reader.pread(at, min(CHUNK + LONGEST, end - at))
            if not piece:
                break
            # What begins a segment begins a string.
            base = at - 1 if at == segment.offset else at
            piece = b"\0" * (at - base) + piece
            for start in STARTS:
                place = piece.find(start)
                while 0 <= place < CHUNK and len(found) < MOST:
                    stop = piece.find(b"\0", place + 1, place + LONGEST)
                    is_search_path = table[0] <= base + place < sum(table)
                    if stop > 0 and not is_search_path and PATH.fullmatch(piece, place + 1, stop):
                        found[piece[place + 1 : stop].decode()] = None
                    place = piece.find(start, place + 1)
            at += CHUNK
    return tuple(found)
