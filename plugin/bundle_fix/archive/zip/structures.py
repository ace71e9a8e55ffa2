"""Structures of a zip archive: headers, records, entries and extra fields (APPNOTE.TXT 6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

END, END64, LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
ENTRY_MARK, LOCAL_MARK = b"PK\1\2", b"PK\3\4"
"""Signatures of the end records and of the headers of a member (APPNOTE 4.3)."""
END_RECORD = Struct("<4s4H2IH")
LOCATOR = Struct("<4sIQI")
END64_RECORD = Struct("<4sQ2H2I4Q")
ENTRY = Struct("<4s2B5H3I5H2I")
LOCAL = Struct("<4s5H3I2H")
FIELD = Struct("<HH")
LARGE, LARGE_COUNT = 0xFFFFFFFF, 0xFFFF
"""Values of a field whose number is in the zip64 extra field or end record (APPNOTE 4.4.1.4)."""
ZIP64 = 1
"""Kind of the zip64 extra field (APPNOTE 4.5.3)."""
ENCRYPTED, DESCRIPTOR, UTF8, MASKED = 0x1, 0x8, 0x800, 0x2000
"""General purpose flags (APPNOTE 4.4.4)."""


class ZipEntry(NamedTuple):
    """An entry of the central directory (APPNOTE 4.3.12), one per member.

    Attributes:
        raw: the bytes of the entry.
        name: the name, undecoded.
        packed: the number of compressed bytes.
        size: the number of uncompressed bytes.
        start: the offset of the local header in the file.
        data: the offset of the compressed bytes.
        end: the offset of the next member or of the central directory.
        local_extra: the extra fields of the local header.
    """

    raw: bytes
    name: bytes
    system: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    packed: int
    size: int
    internal: int
    external: int
    extra: bytes
    comment: bytes
    start: int
    data: int
    end: int
    local_extra: bytes


def split_extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """Return kind and data of each extra field of a member (APPNOTE 4.5)."""
    fields, position = [], 0
    while position + FIELD.size <= len(extra):
        kind, length = FIELD.unpack_from(extra, position)
        position += FIELD.size
        fields.append((kind, extra[position : position + length]))
        position += length
    return fields


def join_extra_fields(fields: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the bytes of extra fields of the given kinds and data."""
    return b"".join(FIELD.pack(kind, len(data)) + data for kind, data in fields)


def drop_zip64_field(extra: bytes) -> bytes:
    """Return extra fields without that of zip64, whose numbers belong to one place and size."""
    return join_extra_fields(f for f in split_extra_fields(extra) if f[0] != ZIP64)


def format_entry_name(entry: ZipEntry) -> str:
    """Return the name of a member for messages, quoted and shortened."""
    return repr(decode_entry_name(entry)[:200])


def decode_entry_name(entry: ZipEntry) -> str:
    """Return a member's name: UTF-8 if valid, even without the flag, otherwise code page 437."""
    try:
        return entry.name.decode("utf-8")
    except UnicodeError:
        if entry.flags & UTF8:
            return entry.name.decode("utf-8", "surrogateescape")
        return entry.name.decode("cp437")
