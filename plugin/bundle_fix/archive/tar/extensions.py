"""Headers that extend the header of one member, or of all members that follow.

Sources: POSIX.1-2017, pax, "pax Interchange Format"; GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bundle_fix.archive.tar.fields import decode_text
from bundle_fix.archive.tar.type_flags import LONG_LINK, LONG_NAME, PAX_GLOBAL
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError

MAX_EXTENSION_SIZE = 4 << 20
"""Bytes of all extension headers of one member: names, extended attributes, sparse maps."""
MAX_EXTENSIONS = 64
"""Extension headers of one member."""
MAX_GLOBAL_RECORDS = 100
GLOBAL_RECORDS = frozenset({"uid", "gid", "uname", "gname", "mtime"})
"""Records of a global header that apply to every member after it."""
FORBIDDEN_GLOBAL_RECORDS = frozenset({"path", "linkpath", "size", "hdrcharset"})
"""Records that no two members share: GNU tar and Python follow them in a global header, bsdtar and
Go do not. The same applies to sparse records, ``GNU.sparse.*``."""
BLOCK = 512
_NUMBER = re.compile(rb"\s*\+?([0-9]{1,10})")
_LENGTH = re.compile(rb"[1-9][0-9]{0,9} ")


class Extensions:
    """The extension headers before one member, as far as they have been read."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.name: bytes | None = None
        self.link: bytes | None = None
        self.records: list[tuple[str, str]] = []
        self.kinds: list[bytes] = []
        self.size = 0


def read_extension(
    extensions: Extensions, global_records: dict[str, str], file: Reader, path: Path, at: int,
    kind: bytes, size: int,
) -> int:  # fmt: skip
    """Read a header that extends the next member's, and return the offset of the header after it.

    Raises:
        BundleFixError: it is malformed or truncated, or exceeds a safety limit.
    """
    extensions.kinds.append(kind)
    extensions.size += size
    if extensions.size > MAX_EXTENSION_SIZE or len(extensions.kinds) > MAX_EXTENSIONS:
        limit = f"{MAX_EXTENSIONS} headers and {MAX_EXTENSION_SIZE >> 20} MiB for one member"
        raise build_limit_error(limit, path, extensions.offset)
    data = file.pread(at + BLOCK, size)
    if len(data) < size:
        raise build_damage_error(file, path, at + BLOCK + size)
    if kind == LONG_NAME:
        extensions.name = data.split(b"\0", 1)[0]
    elif kind == LONG_LINK:
        extensions.link = data.split(b"\0", 1)[0]
    else:
        records = list(parse_records(data, path, at))
        if kind == PAX_GLOBAL:
            update_global_records(global_records, dict(records), path)
        else:
            extensions.records += records
    return at + BLOCK + size + -size % BLOCK


def parse_records(data: bytes, path: Path, offset: int) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a pax header's records, each a line ``length name=value``.

    Args:
        data: the records.
        path: the archive's name, for messages.
        offset: the offset of the header, for messages.

    Raises:
        BundleFixError: a record is malformed.
    """
    at = 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        end = at + int(length[0]) if length else at
        name, equals, value = data[length.end() if length else at : end - 1].partition(b"=")
        if not length or not equals or not name or end > len(data) or data[end - 1] != ord("\n"):
            raise BundleFixError(
                f"the archive is damaged at byte {offset}: malformed pax header",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        if any(map(_is_record, value.split(b"\n")[1:])):
            raise BundleFixError(
                f"the pax header at byte {offset} has a record inside the value of"
                f" {decode_text(name)!r}: npm follows it, GNU tar does not",
                where=str(path), hint=UNTRUSTED,
            )  # fmt: skip
        yield decode_text(name), decode_text(value)
        at = end


def _is_record(line: bytes) -> bool:
    """Return whether a line of a value is a record for node-tar, which ignores its place."""
    number = _NUMBER.match(line)
    return number is not None and int(number[1]) == len(line) + 1 and b"=" in line


def update_global_records(
    global_records: dict[str, str], records: Mapping[str, str], path: Path
) -> None:
    """Add the records of a global pax header that apply to the members after it.

    Raises:
        BundleFixError: it sets a name or size for all members, or has too many records.
    """
    sparse = {name for name in records if name.startswith("GNU.sparse.")}
    if forbidden := (FORBIDDEN_GLOBAL_RECORDS & records.keys()) | sparse:
        raise BundleFixError(
            f"a global pax header sets {', '.join(sorted(forbidden))} for all members",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    if len(records) > MAX_GLOBAL_RECORDS:
        raise BundleFixError(
            f"a global pax header exceeds the safety limit ({MAX_GLOBAL_RECORDS} records)",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    global_records.update(
        {name: value for name, value in records.items() if name in GLOBAL_RECORDS}
    )


def build_damage_error(file: Reader, path: Path, at: int) -> BundleFixError:
    """Return the error for an invalid or truncated header at the offset ``at``."""
    if at == 0:
        return BundleFixError(
            "unknown file format", where=str(path),
            hint="supported are tarballs (plain, gz, xz, zst, bz2), zip archives, wheels, deb and"
            " rpm packages, container images, directories and ELF files",
        )  # fmt: skip
    return BundleFixError(
        f"the archive is truncated or damaged at byte {at} of {file.size}",
        where=str(path), hint=AGAIN,
    )  # fmt: skip


def build_limit_error(limit: str, path: Path, at: int) -> BundleFixError:
    """Return the error for more extension headers than ``limit``."""
    return BundleFixError(
        f"its extension headers exceed the safety limit ({limit}) at byte {at}",
        where=str(path),
        hint=UNTRUSTED,
    )
