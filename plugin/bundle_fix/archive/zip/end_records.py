"""The records at the end of a zip archive, by which every reader finds the central directory."""

from __future__ import annotations

import os
from pathlib import Path

from bundle_fix.archive.zip.structures import (
    END,
    END64,
    END64_RECORD,
    END_RECORD,
    ENTRY_MARK,
    LARGE,
    LARGE_COUNT,
    LOCATOR,
    LOCATOR64,
)
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError

MAX_COMMENT = 0xFFFF
"""Bytes of the longest comment of an archive: its length field has 16 bits."""


def build_damage_error(problem: str, path: Path) -> BundleFixError:
    """Return the error for an archive that was damaged, perhaps by a download."""
    return BundleFixError(f"the archive is damaged: {problem}", where=str(path), hint=AGAIN)


def build_untrusted_error(problem: str, path: Path) -> BundleFixError:
    """Return the error for an archive that no damage explains."""
    return BundleFixError(problem, where=str(path), hint=UNTRUSTED)


def read_at(fd: int, offset: int, length: int, path: Path) -> bytes:
    """Return ``length`` bytes at ``offset``, or raise a BundleFixError."""
    data = os.pread(fd, length, offset) if offset >= 0 else b""
    if len(data) < length:
        raise build_damage_error(f"missing data at byte {offset}", path)
    return data


def find_end_record(fd: int, size: int, path: Path) -> tuple[int, bytes]:
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
        raise build_damage_error("missing central directory; the file may be truncated", path)
    return followed_by_bytes


def resolve_zip64(
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
            raise build_damage_error("missing zip64 end record", path)
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
                raise build_damage_error("the zip64 end record does not match the end record", path)
            if position != declared and os.pread(fd, len(END64), declared) == END64:
                raise build_untrusted_error(
                    "it has two zip64 end records: Go and unzip follow the one that the locator"
                    " names, Python the one before the locator", path
                )  # fmt: skip
            return position, *numbers
    raise build_damage_error("invalid zip64 end record", path)


def check_end_records(fd: int, end: int, start: int, offset: int, path: Path) -> None:
    """Raise an error if tools find different central directories.

    Args:
        fd: the open archive.
        end: the offset of the end record.
        start: the offset of the central directory, before the end record.
        offset: the offset that the end record says; the bytes before the archive shift it.
        path: the archive, for messages.

    Raises:
        BundleFixError: the comment or the bytes after it contain another end record, which Python
            and unzip take for the right one; or there is a central directory at both offsets.
    """
    rest = os.pread(fd, END_RECORD.size + MAX_COMMENT, end + len(END))
    if END in rest:
        raise build_untrusted_error(
            "it has two end records: Python and unzip follow the last one, other tools the one"
            " whose comment ends with the file", path
        )  # fmt: skip
    if offset != start and os.pread(fd, len(ENTRY_MARK), offset) == ENTRY_MARK:
        raise build_untrusted_error(
            f"it has two central directories: Go reads the one at byte {offset}, unzip and Python"
            f" the one at byte {start}", path
        )  # fmt: skip


def find_zip_end(fd: int) -> int | None:
    """Return the offset after the end record of a zip archive at the end of a file, or None.

    Other bytes may precede the archive, so the start of the file need not be that of a zip archive.
    """
    try:
        size = os.fstat(fd).st_size
        end, record = find_end_record(fd, size, Path())
        _, _, _, _, count, length, offset, _ = END_RECORD.unpack_from(record)
        start, _, length, _ = resolve_zip64(fd, end, count, length, offset, Path())
    except BundleFixError:
        return None
    is_directory = length <= start and os.pread(fd, 4, start - length) == ENTRY_MARK
    return end + len(record) if is_directory else None
