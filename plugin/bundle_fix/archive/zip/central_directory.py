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
from bundle_fix.archive.zip.ambiguity import check_gap, find_entry_ambiguity, name_entry_error
from bundle_fix.archive.zip.end_records import (
    build_damage_error,
    build_untrusted_error,
    check_end_records,
    find_end_record,
    read_at,
    resolve_zip64,
)
from bundle_fix.archive.zip.structures import (
    DESCRIPTOR,
    ENCRYPTED,
    END_RECORD,
    ENTRY,
    ENTRY_MARK,
    LARGE,
    LARGE_COUNT,
    LOCAL,
    LOCAL_MARK,
    MASKED,
    ZIP64,
    ZipEntry,
    format_entry_name,
    split_extra_fields,
)
from bundle_fix.model.errors import UNTRUSTED, BundleFixError

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
    end, record = find_end_record(fd, size, path)
    _, _, _, _, count, length, offset, _ = END_RECORD.unpack_from(record)
    comment = record[END_RECORD.size :]
    last = end
    end, count, length, offset = resolve_zip64(fd, end, count, length, offset, path)
    start = end - length
    # Bytes that were prepended to the archive, such as those of a self-extracting program, shift
    # all offsets in it.
    shift = start - offset
    if start < 0 or shift < 0:
        raise build_damage_error("invalid offset of the central directory", path)
    if length > MAX_DIRECTORY:
        raise build_untrusted_error(
            f"the central directory is longer than {format_size(MAX_DIRECTORY)}", path
        )
    entries = _parse_entries(read_at(fd, start, length, path), shift, path, limits)
    # Some tools write only the low 16 bits of a larger number, without a zip64 end record.
    if count not in (len(entries), len(entries) & LARGE_COUNT):
        raise build_damage_error(
            f"the central directory has {len(entries)} entries, but its end record says {count}",
            path,
        )
    limits.check_size(sum(entry.size for entry in entries), size, path)
    located = _locate_entries(fd, entries, start, path)
    first = min((entry.start for entry in located), default=start)
    if first and read_at(fd, 0, len(LOCAL_MARK), path) == LOCAL_MARK:
        raise build_untrusted_error(
            "it starts with members that are missing from the central directory", path
        )
    check_end_records(fd, last, start, offset, path)
    return CentralDirectory(located, comment, end != last)


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
        raise build_damage_error("invalid entry in the central directory", path)
    (_, _, system, _, flags, method, time, date, crc, packed, size, name, extra, comment, _,
     internal, external, start) = ENTRY.unpack(head)  # fmt: skip
    ends = [position + ENTRY.size + n for n in (name, name + extra, name + extra + comment)]
    raw = directory[position : ends[2]]
    if ends[2] > len(directory):
        raise build_damage_error("truncated entry in the central directory", path)
    fields = directory[ends[0] : ends[1]]
    size, packed, start = _decode_zip64_numbers(fields, (size, packed, start), path)
    return ZipEntry(
        raw, raw[ENTRY.size : ENTRY.size + name], system, flags, method, time, date, crc, packed,
        size, internal, external, fields, raw[len(raw) - comment :] if comment else b"",
        start + shift, 0, 0, b"",
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
        raise build_damage_error("missing zip64 extra field of a member", path)
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
        local_extra = _read_local_extra(fd, entry, path)
        data = entry.start + LOCAL.size + len(entry.name) + len(local_extra)
        if data + entry.packed > end:
            raise _build_overlap_error(entry, path)
        check_gap(fd, data + entry.packed, end, path)
        located[number] = entry._replace(data=data, end=end, local_extra=local_extra)
        end = entry.start
    return tuple(located[number] for number in range(len(entries)))


def _build_overlap_error(entry: ZipEntry, path: Path) -> BundleFixError:
    """Return the error for a member whose bytes also belong to another one."""
    return build_untrusted_error(
        f"the member {format_entry_name(entry)} overlaps another member or the central directory",
        path,
    )


def _read_local_extra(fd: int, entry: ZipEntry, path: Path) -> bytes:
    """Return the extra fields of a local header, after comparing the header with ``entry``."""
    head = read_at(fd, entry.start, LOCAL.size, path)
    mark, _, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(head)
    rest = os.pread(fd, name + extra, entry.start + LOCAL.size)
    if mark != LOCAL_MARK or len(rest) < name + extra:
        raise build_damage_error(
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
    ambiguity = find_entry_ambiguity(entry, flags, rest[name:])
    if ambiguity:
        raise name_entry_error(ambiguity, entry, path)
    return rest[name:]
