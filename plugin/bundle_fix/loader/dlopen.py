"""What an object opens at run time, as far as its file tells.

Sources: the UAPI group's "ELF dlopen metadata" (``.note.dlopen``: owner FDO, a JSON list); and the
names in the read-only data of an object that imports dlopen(3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.elf.read.notes import read_notes
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.model.content import CHUNK, Reader, read_exactly

DLOPEN_NOTE = (b"FDO\0", 0x407C0C0A)
REQUIRED, RECOMMENDED, SUGGESTED = "required", "recommended", "suggested"
MAX_FEATURES = 1000
MAX_STRINGS = 16 << 20
"""Bytes of read-only data in which names are looked for."""
MAX_STRING_TABLE = 16 << 20
LIBRARY_STRING = re.compile(rb"(?:[!-~]*/)?(lib[\w.+-]{1,100}\.so(?:\.[0-9]+)*)")
MAX_STRING = 256
"""Bytes of the longest string that is looked at."""


class DlopenFeature(Struct, frozen=True):
    """What one entry of the note says: any of ``sonames`` will do, the first is liked best."""

    sonames: tuple[str, ...]
    priority: str
    feature: str = ""
    description: str = ""


def read_dlopen_notes(reader: Reader, image: Image) -> Iterator[DlopenFeature]:
    """The features of the ELF dlopen metadata note; a note that is no such JSON says nothing."""
    for note in read_notes(reader, image):
        if (note.name, note.type) != DLOPEN_NOTE:
            continue
        import json

        try:
            entries = json.loads(note.content.rstrip(b"\0"))
        except (ValueError, RecursionError):
            continue
        for entry in entries[:MAX_FEATURES] if isinstance(entries, list) else ():
            sonames = entry.get("soname") if isinstance(entry, dict) else None
            if isinstance(sonames, list) and sonames and all(isinstance(n, str) for n in sonames):
                rest = (entry.get(key, "") for key in ("feature", "description"))
                priority = entry.get("priority", RECOMMENDED)
                yield DlopenFeature(tuple(sonames), str(priority), *map(str, rest))


def find_library_name_strings(reader: Reader, image: Image) -> set[str]:
    """The file names of libraries that stand as strings in an object."""
    found: set[str] = set()
    left = MAX_STRINGS
    for segment in read_only_data_segments(image):
        at, end = segment.offset, min(segment.file_end, segment.offset + left)
        left -= max(0, end - at)
        before = b"\0"
        while at < end:
            piece = reader.pread(at, min(CHUNK, end - at))
            if not piece:
                break
            at += len(piece)
            found.update(_find_names(before + piece))
            before = piece[-MAX_STRING:]
    return found


def _find_names(data: bytes) -> Iterator[str]:
    """The file names in ``data`` that are whole strings."""
    # `.so` is rarer than all else in a name, and nothing finds it quicker than this.
    at = data.find(b".so")
    while at >= 0:
        start = data.rfind(b"\0", max(0, at - MAX_STRING), at)
        end = data.find(b"\0", at, at + MAX_STRING)
        match = LIBRARY_STRING.fullmatch(data, start + 1, end) if start >= 0 and end >= 0 else None
        if match:
            yield match[1].decode()
        at = data.find(b".so", at + 3)


def imports_dlopen(reader: Reader, image: Image) -> bool:
    """Whether its dynamic strings have the name; what defines dlopen itself is the C library."""
    table = find_string_table(image)
    if table is None:
        return False
    data = read_exactly(reader, table[0], min(table[1], MAX_STRING_TABLE)) or b""
    return b"\0dlopen\0" in data or b"\0dlmopen\0" in data
