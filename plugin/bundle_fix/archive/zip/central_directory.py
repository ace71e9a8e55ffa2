"""Parser of the central directory and the local headers of a zip archive, which may be hostile.

A zip archive describes each member twice: in a local header before its data and in the central
directory at the end. Tools read one or the other; an archive whose descriptions contradict each
other is rejected. The format is PKWARE's APPNOTE.TXT, version 6.3.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bundle_fix.archive.limits import Limits, format_size
from bundle_fix.archive.zip.structures import (
    DESCRIPTOR,
    ENCRYPTED,
    END,
    END64,
    END64_RECORD,
    END_RECORD,
    ENTRY,
    ENTRY_MARK,
    LARGE,
    LARGE_COUNT,
    LOCAL,
    LOCAL_MARK,
    LOCATOR,
    LOCATOR64,
    MASKED,
    ZIP64,
    ZipEntry,
    format_entry_name,
    split_extra_fields,
)
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError

MAX_COMMENT = 0xFFFF
"""Bytes of the longest comment of an archive: its length field has 16 bits."""
MAX_DIRECTORY = 256 << 20
"""Limit of the bytes of the central directory, which is read into memory. An entry has about 100
bytes."""


class CentralDirectory(NamedTuple):
    """The central directory of an archive.

    Attributes:
        entries: one per member, in their order.
        comment: the comment of the archive.
        is_zip64: whether the archive has a zip64 end record.
    """

    entries: tuple[ZipEntry, ...]
    comment: bytes
    is_zip64: bool


def read_central_directory(fd: int, path: Path, limits: Limits) -> CentralDirectory:
    """Read the central directory of an archive and compare it with the local headers.

    Args:
        fd: the open archive.
        path: its name, for messages.
        limits: the limits of the number of members and of their size.

    Raises:
        BundleFixError: it is damaged, contradicts itself, is encrypted, or exceeds a limit.
    """
    size = os.fstat(fd).st_size
    end, record = _find_end_record(fd, size, path)
    _, _, _, _, count, length, offset, _ = END_RECORD.unpack_from(record)
    comment = record[END_RECORD.size :]
    last = end
    end, count, length, offset = _resolve_zip64(fd, end, count, length, offset, path)
    start = end - length
    # Bytes that were prepended to the archive, such as those of a self-extracting program, shift
    # all offsets in it.
    shift = start - offset
    if start < 0 or shift < 0:
        raise _build_damage_error("invalid offset of the central directory", path)
    if length > MAX_DIRECTORY:
        raise _build_untrusted_error(
            f"the central directory is longer than {format_size(MAX_DIRECTORY)}", path
        )
    entries = _parse_entries(_read_at(fd, start, length, path), shift, path, limits)
    # Some tools write only the low 16 bits of a larger number, without a zip64 end record.
    if count not in (len(entries), len(entries) & LARGE_COUNT):
        raise _build_damage_error(
            f"the central directory has {len(entries)} entries, but its end record says {count}",
            path,
        )
    limits.check_size(sum(entry.size for entry in entries), size, path)
    located = _locate_entries(fd, entries, start, path)
    first = min((entry.start for entry in located), default=start)
    if first and _read_at(fd, 0, len(LOCAL_MARK), path) == LOCAL_MARK:
        raise _build_untrusted_error(
            "it starts with members that are missing from the central directory", path
        )
    return CentralDirectory(located, comment, end != last)


def _build_damage_error(problem: str, path: Path) -> BundleFixError:
    """Return the error for an archive that was damaged, perhaps by a download."""
    return BundleFixError(f"the archive is damaged: {problem}", where=str(path), hint=AGAIN)


def _build_untrusted_error(problem: str, path: Path) -> BundleFixError:
    """Return the error for an archive that no damage explains."""
    return BundleFixError(problem, where=str(path), hint=UNTRUSTED)


def _read_at(fd: int, offset: int, length: int, path: Path) -> bytes:
    """Return ``length`` bytes at ``offset``, or raise a BundleFixError."""
    data = os.pread(fd, length, offset) if offset >= 0 else b""
    if len(data) < length:
        raise _build_damage_error(f"missing data at byte {offset}", path)
    return data


def _find_end_record(fd: int, size: int, path: Path) -> tuple[int, bytes]:
    """Return the offset and the bytes of the end record (APPNOTE 4.3.16), with the comment.

    A record that ends exactly with the file is preferred; otherwise the last one that fits is
    taken, since some tools append bytes. The signature may also occur within the comment.
    """
    start = max(0, size - END_RECORD.size - MAX_COMMENT)
    tail = os.pread(fd, size - start, start)
    position = tail.rfind(END)
    followed_by_bytes = None
    while position >= 0:
        record = tail[position:]
        if len(record) >= END_RECORD.size:
            length = END_RECORD.size + END_RECORD.unpack_from(record)[-1]
            if length == len(record):
                return start + position, record
            if length < len(record) and followed_by_bytes is None:
                followed_by_bytes = start + position, record[:length]
        position = tail.rfind(END, 0, position)
    if followed_by_bytes is None:
        raise _build_damage_error("missing central directory; the file may be truncated", path)
    return followed_by_bytes


def _resolve_zip64(
    fd: int, end: int, count: int, length: int, offset: int, path: Path
) -> tuple[int, int, int, int]:
    """Return end, entry count, length and offset of the central directory.

    They are those of the zip64 end record (APPNOTE 4.3.14), if there is one, otherwise the
    arguments, which are those of the end record.
    """
    locator_start = end - LOCATOR.size
    locator = os.pread(fd, LOCATOR.size, locator_start) if locator_start >= 0 else b""
    if not locator.startswith(LOCATOR64):
        if LARGE in (length, offset):
            raise _build_damage_error("missing zip64 end record", path)
        return end, count, length, offset
    declared = LOCATOR.unpack(locator)[2]
    # The record is directly before its locator, even if prepended bytes shift the declared offset,
    # unless it has an extensible data sector.
    for position in (locator_start - END64_RECORD.size, declared):
        raw = os.pread(fd, END64_RECORD.size, position) if 0 <= position < locator_start else b""
        if len(raw) == END64_RECORD.size and raw.startswith(END64):
            numbers = END64_RECORD.unpack(raw)[-3:]
            pairs = zip((count, length, offset), numbers, (LARGE_COUNT, LARGE, LARGE), strict=True)
            if not all(small in (number, large) for small, number, large in pairs):
                raise _build_damage_error(
                    "the zip64 end record does not match the end record", path
                )
            return position, *numbers
    raise _build_damage_error("invalid zip64 end record", path)


def _parse_entries(directory: bytes, shift: int, path: Path, limits: Limits) -> list[ZipEntry]:
    """Return all entries of the directory; their data is not located yet."""
    entries: list[ZipEntry] = []
    position = 0
    while position < len(directory):
        entry = _parse_entry(directory, position, shift, path)
        entries.append(entry)
        position += len(entry.raw)
        limits.check_members(len(entries), path)
    return entries


def _parse_entry(directory: bytes, position: int, shift: int, path: Path) -> ZipEntry:
    """Return the entry at ``position`` of the directory; its data is not located yet."""
    head = directory[position : position + ENTRY.size]
    if len(head) < ENTRY.size or not head.startswith(ENTRY_MARK):
        raise _build_damage_error("invalid entry in the central directory", path)
    (_, _, system, _, flags, method, time, date, crc, packed, size, name, extra, comment, _,
     internal, external, start) = ENTRY.unpack(head)  # fmt: skip
    ends = [position + ENTRY.size + n for n in (name, name + extra, name + extra + comment)]
    raw = directory[position : ends[2]]
    if ends[2] > len(directory):
        raise _build_damage_error("truncated entry in the central directory", path)
    fields = directory[ends[0] : ends[1]]
    size, packed, start = _decode_zip64_numbers(fields, (size, packed, start), path)
    return ZipEntry(
        raw, raw[ENTRY.size : ENTRY.size + name], system, flags, method, time, date, crc, packed,
        size, internal, external, fields, raw[len(raw) - comment :] if comment else b"",
        start + shift, 0, 0,
    )  # fmt: skip


def _decode_zip64_numbers(extra: bytes, numbers: tuple[int, ...], path: Path) -> list[int]:
    """Return ``numbers``, with each that is `LARGE` replaced by that of the zip64 extra field.

    The field contains only the numbers that are `LARGE`, in their order (APPNOTE 4.5.3).
    """
    large_count = sum(number == LARGE for number in numbers)
    body = next((body for kind, body in split_extra_fields(extra) if kind == ZIP64), b"")
    if not large_count:
        return list(numbers)
    if len(body) < 8 * large_count:
        raise _build_damage_error("missing zip64 extra field of a member", path)
    large = iter(Struct(f"<{large_count}Q").unpack_from(body))
    return [next(large) if number == LARGE else number for number in numbers]


def _locate_entries(
    fd: int, entries: list[ZipEntry], directory: int, path: Path
) -> tuple[ZipEntry, ...]:
    """Return the entries with the offsets of their data.

    Overlapping members are rejected: with them a small archive unpacks to a huge size (Fifield, "A
    better zip bomb", 2019).

    Args:
        fd: the open archive.
        entries: the entries in the order of the central directory.
        directory: the offset of the central directory.
        path: the archive, for messages.
    """
    # First with the smallest size that each member can have, before its local header is read.
    minimal = [(e.start, e.start + LOCAL.size + len(e.name) + e.packed, e) for e in entries]
    last = 0
    for start, end, entry in sorted(minimal):
        if start < last or end > directory:
            raise _build_overlap_error(entry, path)
        last = end
    located: dict[int, ZipEntry] = {}
    end = directory
    for number in sorted(range(len(entries)), key=lambda n: entries[n].start, reverse=True):
        entry = entries[number]
        data = _find_data_offset(fd, entry, path)
        if data + entry.packed > end:
            raise _build_overlap_error(entry, path)
        located[number] = entry._replace(data=data, end=end)
        end = entry.start
    return tuple(located[number] for number in range(len(entries)))


def _build_overlap_error(entry: ZipEntry, path: Path) -> BundleFixError:
    """Return the error for a member whose bytes also belong to another one."""
    return _build_untrusted_error(
        f"the member {format_entry_name(entry)} overlaps another member or the central directory",
        path,
    )


def _find_data_offset(fd: int, entry: ZipEntry, path: Path) -> int:
    """Return the offset of a member's data, after comparing its local header with ``entry``."""
    head = _read_at(fd, entry.start, LOCAL.size, path)
    mark, _, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(head)
    rest = os.pread(fd, name + extra, entry.start + LOCAL.size)
    if mark != LOCAL_MARK or len(rest) < name + extra:
        raise _build_damage_error(
            f"missing local header of the member {format_entry_name(entry)}", path
        )
    if (entry.flags | flags) & (ENCRYPTED | MASKED):
        raise BundleFixError(
            f"the member {format_entry_name(entry)} is encrypted", where=str(path),
            hint="create the archive without a password",
        )  # fmt: skip
    if LARGE in (size, packed):
        size, packed = _decode_zip64_numbers(rest[name:], (size, packed), path)
    central, local = (entry.crc, entry.packed, entry.size), (crc, packed, size)
    # A tool that writes to a pipe does not know these numbers yet: they are 0 in the local header
    # and follow the data in a data descriptor (APPNOTE 4.3.9).
    unknown = (0,) if flags & DESCRIPTOR else ()
    agree = all(a in (b, *unknown) for a, b in zip(local, central, strict=True))
    if rest[:name] != entry.name or method != entry.method or not agree:
        raise BundleFixError(
            f"the archive is damaged: the local header of {format_entry_name(entry)} does not match"
            " the central directory",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    return entry.start + LOCAL.size + int(name + extra)
