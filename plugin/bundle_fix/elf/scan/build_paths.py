"""Paths of the machine that built a file, as they stand in its read-only data.

Assertions and log lines carry the names of source files, and a program that was configured with a
prefix carries the folders that it will look into. Only whole strings count, and only below folders
where people and build services work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.model.content import CHUNK, Reader

START = b"\0/"
BUILD_DIRECTORIES = (
    b"home/", b"root/", b"Users/", b"builds/", b"workspace/", b"var/lib/jenkins", b"tmp/",
)  # fmt: skip
PART = rb"[\w.+@-]+"
SOURCE = rb"\.(?:c|cc|cpp|cxx|c\+\+|h|hh|hpp|hxx|inl|ipp|rs|go|f|f90|s|S|asm)"
PATH = re.compile(
    rb"/(?:(?:home|Users)/[\w-]+(?:/" + PART + rb"){2,}"
    rb"|root/[\w-]" + PART + rb"(?:/" + PART + rb")+"
    rb"|(?:builds|workspace|var/lib/jenkins\w*|tmp)(?:/" + PART + rb")+" + SOURCE + rb")"
)  # fmt: skip
"""A path below somebody's home; elsewhere only one of a source file."""
MAX_PATH = 1024
MAX_PATHS = 20
"""Paths that are listed."""
MAX_CONSTANTS = 4 << 20
"""Bytes of each segment that are looked through: what is larger is tables, not messages."""


def list_build_paths(reader: Reader, image: Image) -> tuple[str, ...]:
    """The paths of a build machine in the file, each once, in their order; at most `MAX_PATHS`."""
    found: dict[str, None] = {}
    # What stands in the dynamic string table is a search path, which other rules look at.
    table = find_string_table(image) or (0, 0)
    for segment in read_only_data_segments(image):
        at, end = segment.offset, segment.offset + min(segment.filesz, MAX_CONSTANTS)
        while at < end and len(found) < MAX_PATHS:
            piece = reader.pread(at, min(CHUNK + MAX_PATH, end - at))
            if not piece:
                break
            # What begins a segment begins a string.
            base = at - 1 if at == segment.offset else at
            piece = b"\0" * (at - base) + piece
            for place in _find_starts(piece):
                stop = piece.find(b"\0", place, place + MAX_PATH)
                is_search_path = table[0] <= base + place < sum(table)
                if stop > 0 and not is_search_path and PATH.fullmatch(piece, place, stop):
                    found[piece[place:stop].decode()] = None
            at += CHUNK
    return tuple(found)[:MAX_PATHS]


def _find_starts(piece: bytes) -> Iterator[int]:
    """Where strings begin that are paths below one of `BUILD_DIRECTORIES`."""
    place = piece.find(START)
    while 0 <= place < CHUNK:
        if piece.startswith(BUILD_DIRECTORIES, place + len(START)):
            yield place + 1
        place = piece.find(START, place + 1)
