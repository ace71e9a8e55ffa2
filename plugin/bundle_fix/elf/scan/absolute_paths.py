"""Paths of directories in the read-only data of a file, such as those of plugins."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from bundle_fix.elf.read.image import Image, read_only_data_segments
from bundle_fix.model.content import CHUNK, Reader

PATH = re.compile(
    rb"/(?<=[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\xff:;,=]/)([!-+\--9<-~]{2,1024})(?=[\0:;,])"
)
"""An absolute path that is a string, an entry of a list, or the value after ``key=``.

A path after other text is left out: it belongs to a message. (The literal slash comes first because
it makes the search fast.)
"""
PART = re.compile(r"[\w.+@-]+", re.ASCII)
FILE_PART = re.compile(r"%|\*|\.so\b")
"""A part that a program replaces, or the name of a library: the directory ends before it."""
MAX_SEGMENT = 16 << 20
"""Bytes of each segment that are searched; larger segments contain tables, not paths."""
MAX_STRING = 1100
"""Bytes of the longest string that is found across the border of two chunks."""
MAX_PATHS = 5000
"""Limit of the paths in the result."""


def list_directory_paths(reader: Reader, image: Image) -> frozenset[str]:
    """Return the absolute paths in a file that may be those of directories, without a last slash.

    The directory of a library or of a pattern such as ``/usr/lib/x/%s.so`` counts as well.
    """
    found: set[str] = set()
    for data in _iter_overlapping_chunks(reader, image):
        if len(found) >= MAX_PATHS:
            break
        for match in PATH.finditer(data):
            directory = _get_directory(match[1].decode())
            if directory is not None:
                found.add(directory)
    return frozenset(found)


def contains_string(reader: Reader, image: Image, text: str) -> bool:
    """Return whether a short string, from its first to its last byte, is in a file."""
    searched = b"\0" + os.fsencode(text) + b"\0"
    return any(searched in data for data in _iter_overlapping_chunks(reader, image))


def _iter_overlapping_chunks(reader: Reader, image: Image) -> Iterator[bytes]:
    """Yield the read-only data in chunks; each begins with the end of the one before it."""
    for segment in read_only_data_segments(image):
        at, end = segment.offset, segment.offset + min(segment.filesz, MAX_SEGMENT)
        tail = b"\0"
        while at < end:
            chunk = reader.pread(at, min(CHUNK, end - at))
            if not chunk:
                break
            at += len(chunk)
            yield tail + chunk
            tail = chunk[-MAX_STRING:]


def _get_directory(text: str) -> str | None:
    """Return the path of the directory in ``text``, a path without its first slash."""
    parts = text.rstrip("/").split("/")
    end = next((at for at, part in enumerate(parts) if FILE_PART.search(part)), len(parts))
    directory = parts[:end]
    is_valid = len(directory) > 1 and all(PART.fullmatch(part) for part in directory)
    return f"/{'/'.join(directory)}" if is_valid else None
