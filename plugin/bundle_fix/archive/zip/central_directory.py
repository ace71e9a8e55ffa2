"""The directory of a zip archive, and what stands before each member: read with suspicion.

A zip archive says everything twice, in front of each member and in the directory at its end, and
tools believe the one or the other; where the two contradict each other, nothing is believed.
The format is PKWARE's APPNOTE.TXT, version 6.3.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bundle_fix.archive.limits import Limits
from bundle_fix.model.errors import AGAIN, BundleFixError

END, END64, LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
ENTRY_MARK, LOCAL_MARK = b"PK\1\2", b"PK\3\4"
END_RECORD = Struct("<4s4H2IH")
LOCATOR = Struct("<4sIQI")
END64_RECORD = Struct("<4sQ2H2I4Q")
ENTRY = Struct("<4s2B5H3I5H2I")
LOCAL = Struct("<4s5H3I2H")
FIELD = Struct("<HH")
MAX_COMMENT = 0xFFFF
MAX_DIRECTORY = 256 << 20
"""Bytes of the directory, which is read as a whole: a member takes about a hundred."""
LARGE, LARGE_COUNT = 0xFFFFFFFF, 0xFFFF
"""What stands in a field whose number is in the zip64 extra field instead."""
ZIP64 = 1
ENCRYPTED, DESCRIPTOR, UTF8, MASKED = 0x1, 0x8, 0x800, 0x2000
HINT = "an archive like this one must not be trusted"


class ZipEntry(NamedTuple):
    """What an archive says of one member.

    Attributes:
        raw: its record in the directory.
        name: as it stands there.
        start: where its local header is in the file.
        data: where its compressed bytes are.
        end: where the next member starts, or the directory.
        packed: the number of its compressed bytes.
        size: that of the bytes they unpack to.
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


class CentralDirectory(NamedTuple):
    """The members in the directory's order, and what is of no member.

    ``is_large`` says whether its numbers are in a zip64 record as well.
    """

    entries: tuple[ZipEntry, ...]
    comment: bytes
    is_large: bool


def read_central_directory(fd: int, path: Path, limits: Limits) -> CentralDirectory:
    """The directory of an archive.

    Args:
        fd: the open archive.
        path: its name, for messages.
        limits: how many members it may have, and of what size.

    Raises:
        BundleFixError: it is damaged, contradicts itself, is encrypted, or has too many members.
    """
    size = os.fstat(fd).st_size
    end, record = _end(fd, size, path)
    _, _, _, _, count, length, offset, _ = END_RECORD.unpack_from(record)
    comment = record[END_RECORD.size :]
    last = end
    end, count, length, offset = _zip64(fd, end, count, length, offset, path)
    start = end - length
    # What was put in front of the archive later moved all of it.
    moved = start - offset
    if start < 0 or moved < 0:
        raise _damaged("its directory lies beyond its start", path)
    if length > MAX_DIRECTORY:
        raise _unlikely("its directory is longer than any honest one", path)
    directory = _read(fd, start, length, path)
    entries: list[ZipEntry] = []
    at = 0
    while at < length:
        entry = _entry(directory, at, moved, path)
        entries.append(entry)
        at += len(entry.raw)
        limits.check_members(len(entries), path)
    if count not in (len(entries), len(entries) & LARGE_COUNT):
        raise _damaged("its directory has another number of members than it says", path)
    limits.check_size(sum(entry.size for entry in entries), size, path)
    placed = _with_places(fd, entries, start, path)
    first = min((entry.start for entry in placed), default=start)
    if first and _read(fd, 0, len(LOCAL_MARK), path) == LOCAL_MARK:
        raise _unlikely("it starts with members that its directory does not have", path)
    return CentralDirectory(placed, comment, end != last)


def _damaged(what: str, path: Path) -> BundleFixError:
    return BundleFixError(f"the archive is damaged: {what}", where=str(path), hint=AGAIN)


def _unlikely(what: str, path: Path) -> BundleFixError:
    return BundleFixError(what, where=str(path), hint=HINT)


def _read(fd: int, at: int, length: int, path: Path) -> bytes:
    data = os.pread(fd, length, at) if at >= 0 else b""
    if len(data) < length:
        raise _damaged(f"it has nothing at byte {at}", path)
    return data


def _end(fd: int, size: int, path: Path) -> tuple[int, bytes]:
    """The record at the end, with the archive's comment, and where it is."""
    start = max(0, size - END_RECORD.size - MAX_COMMENT)
    tail = os.pread(fd, size - start, start)
    at = tail.rfind(END)
    loose = None
    while at >= 0:
        record = tail[at:]
        if len(record) >= END_RECORD.size:
            length = END_RECORD.size + END_RECORD.unpack_from(record)[-1]
            if length == len(record):
                return start + at, record
            if length < len(record) and loose is None:
                loose = start + at, record[:length]
        at = tail.rfind(END, 0, at)
    if loose is None:
        raise _damaged("it has no directory, or is cut short", path)
    return loose


def _zip64(
    fd: int, end: int, count: int, length: int, offset: int, path: Path
) -> tuple[int, int, int, int]:
    """Where the directory ends, and its numbers, those of zip64 where it has them."""
    at = end - LOCATOR.size
    locator = os.pread(fd, LOCATOR.size, at) if at >= 0 else b""
    if not locator.startswith(LOCATOR64):
        if LARGE in (length, offset):
            raise _damaged("its directory is nowhere", path)
        return end, count, length, offset
    told = LOCATOR.unpack(locator)[2]
    # It stands right in front, unless it has more fields; what was put in front moved it.
    for place in (at - END64_RECORD.size, told):
        raw = os.pread(fd, END64_RECORD.size, place) if 0 <= place < at else b""
        if len(raw) == END64_RECORD.size and raw.startswith(END64):
            numbers = END64_RECORD.unpack(raw)[-3:]
            pairs = zip((count, length, offset), numbers, (LARGE_COUNT, LARGE, LARGE), strict=True)
            if not all(small in (number, large) for small, number, large in pairs):
                raise _damaged("its two ends contradict each other", path)
            return place, *numbers
    raise _damaged("its zip64 directory is nowhere", path)


def _entry(directory: bytes, at: int, moved: int, path: Path) -> ZipEntry:
    """The record at ``at`` of the directory; where its data is, is not known yet."""
    head = directory[at : at + ENTRY.size]
    if len(head) < ENTRY.size or not head.startswith(ENTRY_MARK):
        raise _damaged("its directory has what is no member", path)
    (_, _, system, _, flags, method, time, date, crc, packed, size, name, extra, comment, _,
     internal, external, start) = ENTRY.unpack(head)  # fmt: skip
    ends = [at + ENTRY.size + n for n in (name, name + extra, name + extra + comment)]
    raw = directory[at : ends[2]]
    if ends[2] > len(directory):
        raise _damaged("its directory is cut short", path)
    more = directory[ends[0] : ends[1]]
    size, packed, start = _large(more, (size, packed, start), path)
    return ZipEntry(
        raw, raw[ENTRY.size : ENTRY.size + name], system, flags, method, time, date, crc, packed,
        size, internal, external, more, raw[len(raw) - comment :] if comment else b"",
        start + moved, 0, 0,
    )  # fmt: skip


def _large(extra: bytes, numbers: tuple[int, ...], path: Path) -> list[int]:
    """``numbers``, each that is too large for its field taken from the zip64 extra field."""
    wanted = sum(number == LARGE for number in numbers)
    body = next((body for kind, body in split_extra_fields(extra) if kind == ZIP64), b"")
    if not wanted:
        return list(numbers)
    if len(body) < 8 * wanted:
        raise _damaged("a member's size is nowhere", path)
    large = iter(Struct(f"<{wanted}Q").unpack_from(body))
    return [next(large) if number == LARGE else number for number in numbers]


def split_extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """The extra fields of a member (APPNOTE 4.5): their kinds, and what is in them."""
    found, at = [], 0
    while at + FIELD.size <= len(extra):
        kind, length = FIELD.unpack_from(extra, at)
        at += FIELD.size
        found.append((kind, extra[at : at + length]))
        at += length
    return found


def _with_places(
    fd: int, entries: list[ZipEntry], directory: int, path: Path
) -> tuple[ZipEntry, ...]:
    """The entries with the places of their data; no two may share any, nor leave the archive."""
    least = [(e.start, e.start + LOCAL.size + len(e.name) + e.packed, e) for e in entries]
    last = 0
    for start, end, entry in sorted(least):
        if start < last or end > directory:
            raise _shared(entry, path)
        last = end
    placed: dict[int, ZipEntry] = {}
    end = directory
    for number in sorted(range(len(entries)), key=lambda n: entries[n].start, reverse=True):
        entry = entries[number]
        data = _data(fd, entry, path)
        if data + entry.packed > end:
            raise _shared(entry, path)
        placed[number] = entry._replace(data=data, end=end)
        end = entry.start
    return tuple(placed[number] for number in range(len(entries)))


def _shared(entry: ZipEntry, path: Path) -> BundleFixError:
    return _unlikely(
        f"the member {format_name(entry)} shares its bytes with another one, or with the directory",
        path,
    )


def _data(fd: int, entry: ZipEntry, path: Path) -> int:
    """Where the data of a member starts, if what stands before it is what the directory says."""
    head = _read(fd, entry.start, LOCAL.size, path)
    mark, _, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(head)
    rest = os.pread(fd, name + extra, entry.start + LOCAL.size)
    if mark != LOCAL_MARK or len(rest) < name + extra:
        raise _damaged(f"there is no member {format_name(entry)} where it should be", path)
    if (entry.flags | flags) & (ENCRYPTED | MASKED):
        raise BundleFixError(
            f"the member {format_name(entry)} is encrypted", where=str(path),
            hint="make the archive without a password",
        )  # fmt: skip
    if LARGE in (size, packed):
        size, packed = _large(rest[name:], (size, packed), path)
    ours, theirs = (entry.crc, entry.packed, entry.size), (crc, packed, size)
    # Who writes to a pipe knows neither of the three yet, and puts them behind the data.
    later = (0,) if flags & DESCRIPTOR else ()
    agree = all(a in (b, *later) for a, b in zip(theirs, ours, strict=True))
    if rest[:name] != entry.name or method != entry.method or not agree:
        raise BundleFixError(
            f"the archive is damaged: the two headers of {format_name(entry)} differ",
            where=str(path), hint=HINT,
        )  # fmt: skip
    return entry.start + LOCAL.size + int(name + extra)


def format_name(entry: ZipEntry) -> str:
    """The name of a member as messages have it."""
    return repr(decode_name(entry)[:200])


def decode_name(entry: ZipEntry) -> str:
    """A member's name: UTF-8 where it can be, as most tools write it without saying so."""
    try:
        return entry.name.decode("utf-8")
    except UnicodeError:
        if entry.flags & UTF8:
            return entry.name.decode("utf-8", "surrogateescape")
        return entry.name.decode("cp437")
