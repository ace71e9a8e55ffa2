"""The header of an RPM package: its tags and their values.

Source: the RPM V4 package format (rpm.org, "Package Format" and "RPM Tags").
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.model.errors import AGAIN, BundleFixError

HEADER_MAGIC = b"\x8e\xad\xe8\x01"
HEADER_START_SIZE, INDEX_ENTRY_SIZE = 16, 16
MAX_HEADER = 64 << 20
"""Limit of a header that is read, in bytes; large packages have 10 MB."""
INT32, STRING_ARRAY = 4, 8
"""Types of values."""
REQUIRE_NAME = 1049
"""The tag of the required packages, files and sonames (RPMTAG_REQUIRENAME)."""
DIRECTORY_INDEXES, BASE_NAMES, DIRECTORY_NAMES, FILE_CAPABILITIES = 1116, 1117, 1118, 5010
"""Tags of the lists that describe files."""


class RpmHeader(Struct, frozen=True):
    """The position of a header in its file, with the sizes of its parts."""

    fd: int
    start: int
    entries: int
    size: int

    @property
    def end(self) -> int:
        """The offset after the header."""
        return self.start + HEADER_START_SIZE + self.entries * INDEX_ENTRY_SIZE + self.size


def find_header(fd: int, at: int, path: Path) -> RpmHeader:
    """Return the header at the offset ``at``.

    Raises:
        BundleFixError: the package is damaged or truncated there.
    """
    start = os.pread(fd, HEADER_START_SIZE, at)
    entries, size = int.from_bytes(start[8:12], "big"), int.from_bytes(start[12:16], "big")
    header = RpmHeader(fd, at, entries, size)
    is_valid = start.startswith(HEADER_MAGIC) and len(start) == HEADER_START_SIZE
    if not is_valid or header.end > os.fstat(fd).st_size:
        raise BundleFixError(
            f"the package is truncated or damaged at byte {at}", where=str(path), hint=AGAIN
        )
    return header


def read_requires(header: RpmHeader) -> tuple[str, ...]:
    """Return the names that the package requires."""
    return tuple(map(str, _read_lists(header, (REQUIRE_NAME,)).get(REQUIRE_NAME, ())))


def read_capabilities(header: RpmHeader) -> Mapping[str, str]:
    """Return the capabilities of the package's files as text, by path without a leading slash."""
    lists = _read_lists(header, (DIRECTORY_INDEXES, BASE_NAMES, DIRECTORY_NAMES, FILE_CAPABILITIES))
    directories = lists.get(DIRECTORY_NAMES, [])
    rows = zip(
        lists.get(DIRECTORY_INDEXES, ()), lists.get(BASE_NAMES, ()),
        lists.get(FILE_CAPABILITIES, ()), strict=False,
    )  # fmt: skip
    return {
        f"{directories[index]}{name}".lstrip("/"): str(text)
        for index, name, text in rows
        if text and isinstance(index, int) and index < len(directories)
    }


def _read_lists(header: RpmHeader, tags: Iterable[int]) -> dict[int, list[str | int]]:
    """Return the lists of numbers and strings with ``tags``, without damaged ones.

    Nothing is read if the header exceeds `MAX_HEADER`.
    """
    if header.end - header.start > MAX_HEADER:
        return {}
    data = os.pread(header.fd, header.end - header.start, header.start)
    store = HEADER_START_SIZE + header.entries * INDEX_ENTRY_SIZE
    found: dict[int, list[str | int]] = {}
    for at in range(HEADER_START_SIZE, store, INDEX_ENTRY_SIZE):
        tag, kind, offset, count = struct.unpack_from(">4I", data, at)
        if tag not in tags or offset > header.size:
            continue
        values = data[store + offset :]
        if kind == STRING_ARRAY:
            texts = values.split(b"\0", count)[:count]
            found[tag] = [os.fsdecode(text) for text in texts]
        elif kind == INT32 and len(values) >= 4 * count:
            found[tag] = list(struct.unpack_from(f">{count}I", values))
    return found
