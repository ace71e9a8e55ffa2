"""The header of an RPM package: its tags and their values.

Sources: the RPM V4 and V6 package formats (rpm.org, "Package Format" and "RPM Tags").
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from bundle_fix.model.errors import AGAIN, BundleFixError

HEADER_MAGIC = b"\x8e\xad\xe8\x01"
HEADER_START_SIZE, INDEX_ENTRY_SIZE = 16, 16
MAX_HEADER = 64 << 20
"""Limit of a header that is read, in bytes; large packages have 10 MB."""
MAX_VALUES = 2_000_000
"""Values of a list that is read."""
NUMBERS = {3: "H", 4: "I", 5: "Q"}
"""Types of numbers, with the characters of `struct`: INT16, INT32 and INT64."""
STRING_ARRAY = 8
REQUIRE_NAME = 1049
"""The tag of the required packages, files and sonames (RPMTAG_REQUIRENAME)."""
DIRECTORY_INDEXES, BASE_NAMES, DIRECTORY_NAMES, FILE_CAPABILITIES = 1116, 1117, 1118, 5010
"""Tags of the lists that describe files."""
FILE_SIZES, LONG_FILE_SIZES = 1028, 5008
"""The sizes of files; if one is larger than 4 GiB, and in RPM V6, all are in the longer list."""
FILE_MODES, FILE_TIMES, FILE_LINKS, FILE_FLAGS = 1030, 1034, 1036, 1037
FILE_DEVICES, FILE_INODES = 1095, 1096
FILE_TAGS = (
    DIRECTORY_INDEXES, BASE_NAMES, FILE_MODES, FILE_TIMES, FILE_LINKS, FILE_DEVICES, FILE_INODES,
    FILE_FLAGS,
)  # fmt: skip
GHOST = 1 << 6
"""The flag of a file that the package owns but does not contain (RPMFILE_GHOST)."""


class RpmFile(Struct, frozen=True):
    """A file as the header describes it; ``link`` is the target of a symlink."""

    name: str
    mode: int
    mtime: int
    size: int
    link: str
    identity: tuple[int, int]
    is_ghost: bool


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


def read_files(header: RpmHeader) -> list[RpmFile]:
    """Return the files of the package in the header's order; none if the lists do not match."""
    lists = _read_lists(header, (*FILE_TAGS, DIRECTORY_NAMES, FILE_SIZES, LONG_FILE_SIZES))
    directories = lists.get(DIRECTORY_NAMES, [])
    names = lists.get(BASE_NAMES, [])
    columns = [lists.get(tag, []) for tag in FILE_TAGS]
    columns.append(lists.get(LONG_FILE_SIZES) or lists.get(FILE_SIZES, []))
    if any(len(column) != len(names) for column in columns):
        return []
    try:
        return [_build_file(directories, *row) for row in zip(*columns, strict=True)]
    except (IndexError, ValueError):
        return []


def _build_file(directories: Sequence[str | int], *row: str | int) -> RpmFile:
    index, name, mode, mtime, link, device, inode, flags, size = row
    return RpmFile(
        f"{directories[int(index)]}{name}", int(mode), int(mtime), int(size), str(link),
        (int(device), int(inode)), bool(int(flags) & GHOST),
    )  # fmt: skip


def _read_lists(header: RpmHeader, tags: Iterable[int]) -> dict[int, list[str | int]]:
    """Return the lists of numbers and strings with ``tags``, without damaged ones.

    Nothing is read if the header exceeds `MAX_HEADER`.
    """
    if header.end - header.start > MAX_HEADER:
        return {}
    data = os.pread(header.fd, header.end - header.start, header.start)
    store = HEADER_START_SIZE + header.entries * INDEX_ENTRY_SIZE
    found: dict[int, list[str | int]] = {}
    wanted = set(tags)
    for at in range(HEADER_START_SIZE, store, INDEX_ENTRY_SIZE):
        tag, kind, offset, count = struct.unpack_from(">4I", data, at)
        if tag not in wanted or offset > header.size or count > MAX_VALUES:
            continue
        wanted.remove(tag)
        values = data[store + offset :]
        if kind == STRING_ARRAY:
            texts = values.split(b"\0", count)[:count]
            found[tag] = [os.fsdecode(text) for text in texts]
        elif kind in NUMBERS and len(values) >= count * struct.calcsize(f">{NUMBERS[kind]}"):
            found[tag] = list(struct.unpack_from(f">{count}{NUMBERS[kind]}", values))
    return found
