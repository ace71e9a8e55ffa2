"""The libraries that an object opens with dlopen(3), as far as its file shows.

Sources: the UAPI group's "ELF dlopen metadata" (section ``.note.dlopen``: owner FDO, a JSON list);
and the strings in the read-only data of an object that imports dlopen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.elf.read.notes import read_notes
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import CHUNK, Reader, read_exactly

DLOPEN_NOTE = (b"FDO\0", 0x407C0C0A)
REQUIRED, RECOMMENDED, SUGGESTED = "required", "recommended", "suggested"
MAX_FEATURES = 1000
"""Entries of one note that are read."""
MAX_STRINGS = 16 << 20
"""Bytes of read-only data that are searched for names."""
MAX_STRING_TABLE = 16 << 20
"""Bytes of the dynamic string table that are searched."""
NAME_END = re.compile(rb"\.so(?:\.[0-9]+)*")
"""The end of a library's file name, with the numbers of its version."""
NAME_START = re.compile(rb"(?:(?<=%)[a-z])?([\w.+-]*)\Z")
"""The part of a file name before its ``.so``, without a conversion such as ``%s``."""
NAME_PATTERN = ".so"
"""The name in a string that is only the end of a name, as in ``%s.so``."""
MAX_NAME = 100
"""Bytes of a file name before its ``.so``."""
MAX_STRING = 256
"""Bytes of the longest string that may be a name."""


class DlopenFeature(Struct, frozen=True):
    """One entry of the note: any of ``sonames`` serves, in order of preference."""

    sonames: tuple[str, ...]
    priority: str
    feature: str = ""
    description: str = ""


def read_dlopen_notes(reader: Reader, image: Image) -> Iterator[DlopenFeature]:
    """Yield the entries of ``.note.dlopen``; notes that do not match its format are skipped."""
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
                texts = (entry.get(key, "") for key in ("feature", "description"))
                priority = entry.get("priority", RECOMMENDED)
                yield DlopenFeature(tuple(sonames), str(priority), *map(str, texts))


def find_library_name_strings(reader: Reader, image: Image) -> set[str]:
    """Return the file names of libraries that end a string in an object's read-only data."""
    found: set[str] = set()
    left = MAX_STRINGS
    for segment in read_only_data_segments(image):
        at, end = segment.offset, min(segment.file_end, segment.offset + left)
        left -= max(0, end - at)
        # The end of each chunk is searched again with the next: a string may cross the border.
        tail = b"\0"
        while at < end:
            chunk = reader.pread(at, min(CHUNK, end - at))
            if not chunk:
                break
            at += len(chunk)
            found.update(_find_names(tail + chunk))
            tail = chunk[-MAX_STRING:]
    return found


def _find_names(data: bytes) -> Iterator[str]:
    """Yield the file names in ``data`` that a NUL ends, whatever byte is before them.

    Linkers store a string that another one ends in only once, and compilers put strings after the
    other fields of a struct. A name therefore also begins at each ``lib`` in a longer name.
    """
    # `.so` is the rarest part of a name, and bytes.find is faster than any regular expression.
    at = data.find(b".so")
    while at >= 0:
        end = data.find(b"\0", at, at + MAX_STRING)
        if end >= 0 and NAME_END.fullmatch(data, at, end):
            before = NAME_START.search(data[max(0, at - MAX_NAME) : at])
            name = (before[1] if before else b"") + data[at:end]
            yield name.decode()
            start = name.find(b"lib", 1)
            while start >= 0:
                yield name[start:].decode()
                start = name.find(b"lib", start + 1)
        at = data.find(b".so", at + 3)


def imports_dlopen(reader: Reader, image: Image) -> bool:
    """Return whether the dynamic string table contains ``dlopen`` or ``dlmopen``.

    The C library defines them, so other objects that name them import them.
    """
    table = find_string_table(image)
    if table is None:
        return False
    data = read_exactly(reader, table[0], min(table[1], MAX_STRING_TABLE)) or b""
    return b"\0dlopen\0" in data or b"\0dlmopen\0" in data


def find_dlopened_names(bundle: Bundle, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return for each object those of ``names`` that it may open.

    Args:
        bundle: the pack; its contents must be open.
        names: names that programs of the pack open. A name with a slash is a path, is not searched
            and therefore left out.
    """
    searched = [name for name in names if "/" not in name]
    if not searched:
        return {}
    strings = {}
    for path, image in bundle.images.items():
        if image.is_dynamic:
            with bundle.get_content(path).open() as reader:
                if imports_dlopen(reader, image):
                    strings[path] = find_library_name_strings(reader, image)
    by_path: dict[str, tuple[str, ...]] = {}
    for name in searched:
        for path in find_dlopen_callers(strings, name):
            by_path[path] = (*by_path.get(path, ()), name)
    return by_path


def find_dlopen_callers(strings: Mapping[str, set[str]], name: str) -> list[str]:
    """Return the paths of the objects that may open ``name``.

    Args:
        strings: for each object that imports dlopen, the names of libraries in its data.
        name: the name of a library. If no object contains it, any of them may open it: the name
            may come from a configuration file.
    """
    return [path for path, names in strings.items() if name in names] or list(strings)
