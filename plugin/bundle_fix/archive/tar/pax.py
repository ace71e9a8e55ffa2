"""Pax headers: records that extend the header of one member, or of all members that follow.

Source: POSIX.1-2017, pax, "pax Interchange Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bundle_fix.archive.tar.fields import decode_text
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError

MAX_GLOBAL_RECORDS = 100
GLOBAL_RECORDS = frozenset({"uid", "gid", "uname", "gname", "mtime"})
"""Records of a global header that apply to every member after it."""
FORBIDDEN_GLOBAL_RECORDS = frozenset({"path", "linkpath", "size"})
"""Records that no two members share: in a global header they would make tools disagree."""
_LENGTH = re.compile(rb"[1-9][0-9]{0,9} ")


def parse_records(data: bytes, path: Path, offset: int) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a pax header's records, each a line ``length name=value``.

    Args:
        data: the records; a NUL ends them early.
        path: the archive's name, for messages.
        offset: the offset of the header, for messages.

    Raises:
        BundleFixError: a record is malformed.
    """
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        length = _LENGTH.match(data, at)
        end = at + int(length[0]) if length else at
        name, equals, value = data[length.end() if length else at : end - 1].partition(b"=")
        if not length or not equals or not name or end > len(data) or data[end - 1] != ord("\n"):
            raise BundleFixError(
                f"the archive is damaged at byte {offset}: malformed pax header",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        yield decode_text(name), decode_text(value)
        at = end


def update_global_records(
    global_records: dict[str, str], records: Mapping[str, str], path: Path
) -> None:
    """Add the records of a global pax header that apply to the members after it.

    Raises:
        BundleFixError: it sets a name or size for all members, or has too many records.
    """
    if forbidden := FORBIDDEN_GLOBAL_RECORDS & records.keys():
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
