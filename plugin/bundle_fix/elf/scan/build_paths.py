"""Paths of the build machine in the read-only data of a file.

Assertions and log messages contain names of source files, and a program that was configured with a
prefix contains the directories that it will search. Only whole strings count, and only those below
directories where people and build services work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.model.content import CHUNK, Reader

START = b"\0/"
"""The beginning of a string that is an absolute path."""
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
"""A path below a home directory, or a path of a source file in another build directory."""
MAX_PATH = 1024
"""Limit of a path, in bytes."""
MAX_PATHS = 20
"""Limit of the paths in the result."""
MAX_CONSTANTS = 4 << 20
"""Bytes of each segment that are searched; larger segments contain tables, not messages."""


def list_build_paths(reader: Reader, image: Image) -> tuple[str, ...]:
    """Return the first `MAX_PATHS` paths of a build machine in the file, each once."""
    found: dict[str, None] = {}
    # A path in the dynamic string table is a search path; other rules check those.
    table = find_string_table(image) or (0, 0)
    for segment in read_only_data_segments(image):
        at, end = segment.offset, segment.offset + min(segment.filesz, MAX_CONSTANTS)
        while at < end and len(found) < MAX_PATHS:
            piece = reader.pread(at, min(CHUNK + MAX_PATH, end - at))
            if not piece:
                break
            # The first byte of a segment also begins a string, without a NUL before it.
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
    """Yield the offsets of strings that are paths below one of `BUILD_DIRECTORIES`."""
    place = piece.find(START)
    while 0 <= place < CHUNK:
        if piece.startswith(BUILD_DIRECTORIES, place + len(START)):
            yield place + 1
        place = piece.find(START, place + 1)
