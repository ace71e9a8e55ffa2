"""Absolute paths of directories in the read-only data of a file, such as those of plugins."""

from __future__ import annotations

import re

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
MAX_PATHS = 5000
"""Limit of the paths in the result."""


def list_directory_paths(reader: Reader, image: Image) -> frozenset[str]:
    """Return the absolute paths in a file that may be those of directories, without a last slash.

    The directory of a library or of a pattern such as ``/usr/lib/x/%s.so`` counts as well.
    """
    found: set[str] = set()
    for segment in read_only_data_segments(image):
        at, end = segment.offset, segment.offset + min(segment.filesz, MAX_SEGMENT)
        tail = b"\0"
        while at < end and len(found) < MAX_PATHS:
            chunk = reader.pread(at, min(CHUNK, end - at))
            if not chunk:
                break
            at += len(chunk)
            for match in PATH.finditer(tail + chunk):
                directory = _get_directory(match[1].decode())
                if directory is not None:
                    found.add(directory)
            # A path may cross the border of two chunks.
            tail = chunk[-1100:]
    return frozenset(found)


def _get_directory(text: str) -> str | None:
    """Return the path of the directory in ``text``, a path without its first slash."""
    parts = text.rstrip("/").split("/")
    end = next((at for at, part in enumerate(parts) if FILE_PART.search(part)), len(parts))
    directory = parts[:end]
    is_valid = len(directory) > 1 and all(PART.fullmatch(part) for part in directory)
    return f"/{'/'.join(directory)}" if is_valid else None
