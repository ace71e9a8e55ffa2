"""Members of zip archives that common tools read differently; docs/security.md compares the tools.

A member is accepted only if unzip, bsdtar, Python's zipfile and Go's archive/zip unpack the same.
Symlinks are an exception: many tools unpack them as text files (BF606).
"""

from __future__ import annotations

import os
import stat
from enum import Enum, auto
from pathlib import Path

from bundle_fix.archive.zip.member_headers import MS_DIRECTORY, UNIX
from bundle_fix.archive.zip.structures import (
    DESCRIPTOR,
    FIELD,
    LOCAL,
    LOCAL_MARK,
    UTF8,
    ZIP64,
    ZipEntry,
    decode_entry_name,
    format_entry_name,
    join_extra_fields,
    split_extra_fields,
)
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import UNTRUSTED, BundleFixError

UNICODE_PATH, UNICODE_PATH_HEAD = 0x7075, 5
"""Kind of Info-ZIP's Unicode path field, and its bytes before the name: version and checksum of
the other name (APPNOTE 4.6.9)."""
KINDS = (0, stat.S_IFREG, stat.S_IFLNK)
"""Kinds of the members whose names do not end with a slash."""


class ZipAmbiguity(Enum):
    """A way in which a member has two readings."""

    UNICODE_PATH = auto()
    CODE_PAGE = auto()
    BACKSLASH = auto()
    FLAG = auto()
    DESCRIPTOR = auto()
    EXTRA = auto()
    DIRECTORY = auto()
    SPECIAL = auto()
    FOREIGN_SYMLINK = auto()
    EMPTY_TARGET = auto()
    HIDDEN = auto()


READINGS = {
    ZipAmbiguity.UNICODE_PATH: "has another name in its Unicode path field: unzip, bsdtar and 7z"
    " unpack it under that name, Go and Python 3.11 do not",
    ZipAmbiguity.CODE_PAGE: "has a name in an unknown code page: Python reads code page 437 or"
    " rejects the archive, unzip and bsdtar follow the locale",
    ZipAmbiguity.BACKSLASH: "has a backslash in its name: it separates directories for unzip, 7z"
    " and Windows, but not for Python and Go",
    ZipAmbiguity.FLAG: "is marked as UTF-8 in only one of its headers: bsdtar follows the local"
    " header, Python the central directory",
    ZipAmbiguity.DESCRIPTOR: "has a data descriptor by only one of its headers: unzip follows"
    " the local header, Python the central directory",
    ZipAmbiguity.EXTRA: "has damaged or repeated extra fields: unzip follows the first one, Python"
    " rejects the archive or follows the last one",
    ZipAmbiguity.DIRECTORY: "is a directory by its name or by its attributes, but not by both:"
    " bsdtar follows the attributes, Python the name",
    ZipAmbiguity.SPECIAL: "is a device, fifo or socket by its mode: bsdtar creates one, unzip and"
    " Python unpack a file",
    ZipAmbiguity.FOREIGN_SYMLINK: "is a symlink by its mode, but not made on Unix: unzip or Go make"
    " a symlink of it, bsdtar and Python a file",
    ZipAmbiguity.EMPTY_TARGET: "is a symlink without a target: unzip unpacks a file, bsdtar"
    " nothing",
    ZipAmbiguity.HIDDEN: "is missing from the central directory: tools that read from a pipe unpack"
    " it, others do not",
}


def build_ambiguity_error(ambiguity: ZipAmbiguity, name: str, path: Path) -> BundleFixError:
    """Return the error for a member, with its quoted name, that tools read differently."""
    return BundleFixError(
        f"the member {name} {READINGS[ambiguity]}", where=str(path), hint=UNTRUSTED
    )


def find_entry_ambiguity(
    entry: ZipEntry, local_flags: int, local_extra: bytes
) -> ZipAmbiguity | None:
    """Return why tools read a member differently, or None.

    Args:
        entry: its entry in the central directory.
        local_flags: the general purpose flags of its local header.
        local_extra: the extra fields of its local header.
    """
    if b"\\" in entry.name:
        return ZipAmbiguity.BACKSLASH
    if (entry.flags ^ local_flags) & DESCRIPTOR:
        return ZipAmbiguity.DESCRIPTOR
    if not (_is_portable_extra(entry.extra) and _is_portable_extra(local_extra)):
        return ZipAmbiguity.EXTRA
    return _find_name_ambiguity(entry, local_flags, local_extra) or _find_kind_ambiguity(entry)


def _is_portable_extra(extra: bytes) -> bool:
    """Return whether extra fields end where the last one does, and none that matters is repeated.

    Fewer zeros than the head of a field are padding (Android's zipalign).
    """
    fields = split_extra_fields(extra)
    # A field whose data ends with the header was cut there if joining the fields gives other bytes.
    rest = extra.removeprefix(join_extra_fields(fields))
    kinds = [kind for kind, _ in fields if kind in (ZIP64, UNICODE_PATH)]
    return len(rest) < FIELD.size and not rest.strip(b"\0") and len(set(kinds)) == len(kinds)


def _find_name_ambiguity(
    entry: ZipEntry, local_flags: int, local_extra: bytes
) -> ZipAmbiguity | None:
    """Return why tools read the name of a member differently, or None."""
    unicode_names = [
        data[UNICODE_PATH_HEAD:]
        for extra in (entry.extra, local_extra)
        for kind, data in split_extra_fields(extra)
        if kind == UNICODE_PATH
    ]
    ours = decode_entry_name(entry).encode("utf-8", "surrogateescape")
    if any(name != ours for name in unicode_names):
        return ZipAmbiguity.UNICODE_PATH
    if entry.name.isascii():
        return None
    if (entry.flags ^ local_flags) & UTF8:
        return ZipAmbiguity.FLAG
    # Info-ZIP in the locale C and macOS do not mark UTF-8; only Python takes it for code page 437.
    return None if unicode_names or _is_utf8(entry.name) else ZipAmbiguity.CODE_PAGE


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeError:
        return False
    return True


def _find_kind_ambiguity(entry: ZipEntry) -> ZipAmbiguity | None:
    """Return why tools make different kinds of files of a member, or None."""
    kind = stat.S_IFMT(entry.external >> 16)
    if entry.system != UNIX and kind == stat.S_IFLNK:
        return ZipAmbiguity.FOREIGN_SYMLINK
    if kind == stat.S_IFLNK and not entry.size:
        return ZipAmbiguity.EMPTY_TARGET
    kind = kind if entry.system == UNIX else 0
    if entry.name.endswith(b"/"):
        # The slash decides for every tool; old Maven archivers wrote wrong bits for the kind.
        return ZipAmbiguity.DIRECTORY if kind == stat.S_IFLNK or entry.size else None
    if kind not in (*KINDS, stat.S_IFDIR):
        return ZipAmbiguity.SPECIAL
    is_directory = kind == stat.S_IFDIR or entry.external & MS_DIRECTORY
    return ZipAmbiguity.DIRECTORY if is_directory else None


def check_gap(fd: int, start: int, end: int, path: Path) -> None:
    """Raise a BundleFixError if a local header stands between two members.

    Args:
        fd: the open archive.
        start: the offset after the data of a member, where a data descriptor may stand.
        end: the offset of the next member or of the central directory.
        path: the archive, for messages.
    """
    for offset in range(start, end, CHUNK):
        # The mark may stand across the end of a chunk.
        chunk = os.pread(fd, min(CHUNK + len(LOCAL_MARK), end - offset), offset)
        at = chunk.find(LOCAL_MARK)
        if at >= 0:
            head = os.pread(fd, LOCAL.size + 200, offset + at)
            length = LOCAL.unpack_from(head)[9] if len(head) >= LOCAL.size else 0
            name = head[LOCAL.size : LOCAL.size + length]
            raise build_ambiguity_error(ZipAmbiguity.HIDDEN, repr(os.fsdecode(name)), path)


def name_entry_error(ambiguity: ZipAmbiguity, entry: ZipEntry, path: Path) -> BundleFixError:
    """Return the error for the member of an entry."""
    return build_ambiguity_error(ambiguity, format_entry_name(entry), path)
