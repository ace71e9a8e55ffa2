"""Headers of tarballs that common tools read differently; docs/security.md compares the tools.

A header is accepted only if GNU tar, bsdtar, Python's tarfile and Go's archive/tar find the same
members in it, with the same names, types, targets and contents.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import Enum, auto
from pathlib import Path

from bundle_fix.archive.tar.fields import decode_number
from bundle_fix.archive.tar.type_flags import (
    DIRECTORY,
    DUMP_DIRECTORY,
    HARD_LINK,
    KNOWN_TYPES,
    LONG_LINK,
    LONG_NAME,
    OLD_REGULAR,
    PAX,
    PAX_GLOBAL,
    SOLARIS_ACL,
    SOLARIS_PAX,
    SPARSE,
    SYMLINK,
    TYPES_WITHOUT_DATA,
    VOLUME_LABEL,
)
from bundle_fix.model.errors import UNTRUSTED, BundleFixError


class TarAmbiguity(Enum):
    """A way in which a header has two readings."""

    NUMBER = auto()
    SIZE_WITHOUT_DATA = auto()
    TWO_SIZES = auto()
    REPEATED_HEADER = auto()
    TWO_NAMES = auto()
    LATE_GLOBAL_HEADER = auto()
    EMPTY_RECORD = auto()
    EMPTY_TARGET = auto()
    TARGET_OUTSIDE_HEADER = auto()
    NEEDLESS_TARGET = auto()
    UNREADABLE_NAME = auto()
    NUL_IN_RECORD = auto()
    PARTIAL_SPARSE_MAP = auto()
    SLASH = auto()
    PREFIX = auto()
    ACL = auto()
    LABEL = auto()
    DUMP_DIRECTORY = auto()
    SOLARIS = auto()
    TYPE = auto()
    MEMBER_AFTER_END = auto()


READINGS = {
    TarAmbiguity.NUMBER: "has a number in an unusual notation: GNU tar and bsdtar read another"
    " one than Python, which may also stop there",
    TarAmbiguity.SIZE_WITHOUT_DATA: "has a size although its type has no data: bsdtar or 7z skips"
    " as many bytes, GNU tar reads members there",
    TarAmbiguity.TWO_SIZES: "has one size in its header and another one in its pax header: GNU tar"
    " follows the pax header, other readers the header",
    TarAmbiguity.REPEATED_HEADER: "has two extension headers of the same type: GNU tar follows the"
    " last one, Python the first one",
    TarAmbiguity.TWO_NAMES: "has one name in a GNU header and another one in a pax header: GNU tar"
    " follows the pax header, bsdtar the one that comes first",
    TarAmbiguity.LATE_GLOBAL_HEADER: "has a global pax header between its own headers: GNU tar"
    " follows all of them, Go only those after it",
    TarAmbiguity.EMPTY_RECORD: "has a pax record without a value: bsdtar reads the value of the"
    " header, Python an empty one",
    TarAmbiguity.EMPTY_TARGET: "is a symlink without a target: 7z makes a file of it, GNU tar"
    " nothing",
    TarAmbiguity.TARGET_OUTSIDE_HEADER: "has its target only in an extension header: npm skips the"
    " link and gives its name to the next member, GNU tar does not",
    TarAmbiguity.NEEDLESS_TARGET: "has the target of a link although it is not a link: npm skips"
    " its header and reads members in its data, GNU tar does not",
    TarAmbiguity.UNREADABLE_NAME: "has a pax name or target with a line break or without UTF-8: npm"
    " uses the one in the header, GNU tar the one in the pax header",
    TarAmbiguity.NUL_IN_RECORD: "has a NUL character in its pax header: GNU tar reads up to it,"
    " Python beyond it or bsdtar nothing",
    TarAmbiguity.PARTIAL_SPARSE_MAP: "has sparse records without a map: GNU tar follows them, Go"
    " ignores them",
    TarAmbiguity.SLASH: "is a regular file whose name ends with a slash: a directory for GNU tar"
    " and bsdtar, a file for Python",
    TarAmbiguity.PREFIX: "has a name prefix in a header without the format for it: Python uses the"
    " prefix, GNU tar does not",
    TarAmbiguity.ACL: "has the type 'A': a list of permissions for bsdtar, a file for GNU tar",
    TarAmbiguity.LABEL: "is a volume label: a file for Python and 7z, nothing for GNU tar",
    TarAmbiguity.DUMP_DIRECTORY: "is a directory of an incremental backup: a file for Python, a"
    " directory for GNU tar",
    TarAmbiguity.SOLARIS: "has a pax header of Solaris: a file for Go, a header for GNU tar",
    TarAmbiguity.TYPE: "has an unknown type: npm unpacks nothing, GNU tar and Python unpack a file",
    TarAmbiguity.MEMBER_AFTER_END: "follows the end of the archive: 'tar --ignore-zeros' and npm"
    " unpack it, GNU tar does not",
}
UNPORTABLE_TYPES = {
    SOLARIS_ACL: TarAmbiguity.ACL,
    VOLUME_LABEL: TarAmbiguity.LABEL,
    DUMP_DIRECTORY: TarAmbiguity.DUMP_DIRECTORY,
    SOLARIS_PAX: TarAmbiguity.SOLARIS,
}
NUMBER_FIELDS = tuple(
    slice(start, start + size)
    for start, size in (
        (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (148, 8), (329, 8), (337, 8),
    )
)  # fmt: skip
"""The numbers of a header. The last two, those of devices, are numbers or NULs also in headers
without ``ustar``: bsdtar's archive_read_format_tar_bid rejects an archive that begins otherwise."""
SIZE_FIELD = slice(124, 136)
SPARSE_ENTRY = slice(386, 410)
"""The first entry of the map in an old GNU sparse header: offset and size (GNU tar's tar.h)."""
OCTAL = re.compile(rb" *[0-7]*[ \0]*")
"""A number as every tool reads it: digits between blanks, or NULs after them (POSIX ustar)."""
NOT_IN_LINE = re.compile("[\n\udc80-\udcff]")
"""Line breaks, and the surrogates that stand for bytes that are not UTF-8 (PEP 383)."""
BINARY, BINARY_SIGNS = 0x80, (0x80, 0xFF)
"""The bit that marks a binary number, and its first bytes for positive and negative ones. Python
rejects other bytes."""
MAX_OCTAL_SIZE = 8**11 - 1
"""Largest size that fits into the header; only larger ones need another format (POSIX ustar)."""
TARGET, TYPES_WITH_TARGET = 157, frozenset({HARD_LINK, SYMLINK, PAX, PAX_GLOBAL})
"""The target of a link in a header, and the types for which node-tar allows or ignores it."""
NAME_SIZE = 100
"""The size of the fields for the name and the target in a header."""
NAME_RECORDS = {LONG_NAME: "path", LONG_LINK: "linkpath"}
PREFIX, PREFIX_MAGIC = 345, b"ustar\x0000"
GNU_SPARSE_NAMES = "GNU.sparse."
TWO_READINGS = frozenset({"SCHILY.realsize", "SUN.holesdata"})
"""Records of sparse files that bsdtar follows and other tools ignore."""


def build_ambiguity_error(ambiguity: TarAmbiguity, name: str, path: Path) -> BundleFixError:
    """Return the error for a member that tools read differently."""
    return BundleFixError(
        f"the member {name[:200]!r} {READINGS[ambiguity]}", where=str(path), hint=UNTRUSTED
    )


def find_header_ambiguity(block: bytes) -> TarAmbiguity | None:
    """Return why tools read the fields of a header differently, or None."""
    kind = block[156:157]
    if kind in UNPORTABLE_TYPES:
        return UNPORTABLE_TYPES[kind]
    if kind not in KNOWN_TYPES:
        return TarAmbiguity.TYPE
    if not all(_is_portable_number(block[field]) for field in NUMBER_FIELDS):
        return TarAmbiguity.NUMBER
    size = decode_number(block[SIZE_FIELD]) or 0
    if block[SIZE_FIELD][0] & BINARY and 0 <= size <= MAX_OCTAL_SIZE:
        return TarAmbiguity.NUMBER
    if size and kind in TYPES_WITHOUT_DATA and kind != DIRECTORY:
        return TarAmbiguity.SIZE_WITHOUT_DATA
    if block[TARGET] and kind not in TYPES_WITH_TARGET:
        return TarAmbiguity.NEEDLESS_TARGET
    if block[PREFIX] and block[257:265] != PREFIX_MAGIC and kind not in (SPARSE, *NAME_RECORDS):
        return TarAmbiguity.PREFIX
    return None


def _is_portable_number(field: bytes) -> bool:
    """Return whether every tool reads the same number in a field."""
    if field[0] & BINARY:
        return field[0] in BINARY_SIGNS
    return OCTAL.fullmatch(field) is not None


def find_extension_ambiguity(
    kinds: Collection[bytes], records: Mapping[str, str]
) -> TarAmbiguity | None:
    """Return why tools read the extension headers of one member differently, or None.

    Args:
        kinds: the types of the headers in order.
        records: the records of the pax header.
    """
    if PAX_GLOBAL in kinds and len(kinds) > 1:
        return TarAmbiguity.LATE_GLOBAL_HEADER
    if len(set(kinds)) < len(kinds):
        return TarAmbiguity.REPEATED_HEADER
    if any(kind in kinds and name in records for kind, name in NAME_RECORDS.items()):
        return TarAmbiguity.TWO_NAMES
    if any(records.get(name) == "" for name in ("path", "linkpath", "size")):
        return TarAmbiguity.EMPTY_RECORD
    if any("\0" in name for name in records) or "\0" in records.get("linkpath", ""):
        return TarAmbiguity.NUL_IN_RECORD
    if not TWO_READINGS.isdisjoint(records):
        return TarAmbiguity.PARTIAL_SPARSE_MAP
    return None


def find_member_ambiguity(
    block: bytes,
    name: str,
    link: str,
    records: Mapping[str, str],
    stored: Mapping[str, str],
    *,
    is_sparse: bool,
) -> TarAmbiguity | None:
    """Return why tools read a header together with its extensions differently, or None.

    Args:
        block: the header.
        name: the name of the member.
        link: the target of a link.
        records: the records of its own pax header.
        stored: its name and target in the header, by the name of the record for each.
        is_sparse: whether its data has a sparse map.
    """
    kind, size = block[156:157], decode_number(block[SIZE_FIELD])
    if kind == SYMLINK and not link:
        return TarAmbiguity.EMPTY_TARGET
    if link and kind in (HARD_LINK, SYMLINK) and not block[TARGET]:
        return TarAmbiguity.TARGET_OUTSIDE_HEADER
    for record, value in stored.items():
        other = records.get(record, value)
        if not _is_line_of_text(other) and _mask(other) != _mask(value):
            return TarAmbiguity.UNREADABLE_NAME
    if "size" in records:
        if kind in TYPES_WITHOUT_DATA and records["size"].strip("0"):
            return TarAmbiguity.SIZE_WITHOUT_DATA
        if size != int(records["size"]) <= MAX_OCTAL_SIZE:
            return TarAmbiguity.TWO_SIZES
    if kind == SPARSE and size and not block[SPARSE_ENTRY].strip(b"\0"):
        return TarAmbiguity.PARTIAL_SPARSE_MAP
    if not is_sparse and any(record.startswith(GNU_SPARSE_NAMES) for record in records):
        return TarAmbiguity.PARTIAL_SPARSE_MAP
    if kind in TYPES_WITHOUT_DATA:
        return None
    has_slash = name.endswith("/")
    if kind == OLD_REGULAR:
        # Before POSIX a slash after the name marked a directory. Python looks for it in the header,
        # whose name an extension header may replace.
        header_has_slash = block[:100].partition(b"\0")[0].endswith(b"/")
        return TarAmbiguity.SLASH if has_slash != header_has_slash or (has_slash and size) else None
    return TarAmbiguity.SLASH if has_slash else None


def _is_line_of_text(value: str) -> bool:
    """Return whether node-tar reads a pax value: it decodes UTF-8, and splits at line breaks."""
    return NOT_IN_LINE.search(value) is None


def _mask(name: str) -> bytes:
    """Return a name as Python writes it into the header before which it has a pax name."""
    return name.encode("ascii", "replace")[:NAME_SIZE]
