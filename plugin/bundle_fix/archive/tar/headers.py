"""The headers of a tarball, one member after another, as POSIX, GNU tar and star write them.

Python's tarfile keeps a kilobyte for every member, takes a damaged header for the end, and lets
headers that lie raise what they like; here every number is bounded before it is used.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar's
manual, "Basic Tar Format"; star(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bundle_fix.archive.tar.sparse import (
    Extent,
    SparseError,
    is_sparse,
    read_gnu_extents,
    read_pax_extents,
)
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import AGAIN, BundleFixError

BLOCK = 512
ZEROS = bytes(BLOCK)
HEADER = Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
REGULAR, OLD_REGULAR, CONTIGUOUS = b"0", b"\0", b"7"
HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO = (b"%d" % n for n in range(1, 7))
DUMP_FOLDER, SPARSE, VOLUME, CONTINUED = b"D", b"S", b"V", b"M"
LONG_NAME, LONG_LINK, PAX, SOLARIS_PAX, PAX_GLOBAL = b"L", b"K", b"x", b"X", b"g"
EXTENSIONS = frozenset({LONG_NAME, LONG_LINK, PAX, SOLARIS_PAX, PAX_GLOBAL})
WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO})
"""Types whose size counts no bytes of the archive, whatever it says."""

POSIX_MAGIC, GNU_MAGIC = b"ustar\0", b"ustar "
STAR_MARK, STAR_PREFIX = b"tar\0", 131

MAX_EXTENSION = 4 << 20
"""Bytes of the headers that extend one member's: names, extended attributes, sparse maps."""
MAX_EXTENSIONS = 64
MAX_EXTENDED = 128 << 20
"""Bytes of such headers of all members: what they say is kept in memory."""
RECORD_COST = 96
"""Bytes that a record of a pax header counts as besides its own."""
MAX_GLOBAL_RECORDS = 100
NO_RECORDS: Mapping[str, str] = {}
MAX_TIME = 1 << 62
LIVING = frozenset({"uid", "gid", "uname", "gname", "mtime"})
"""Records of a global header that count for every member that follows it."""
FATAL = frozenset({"path", "linkpath", "size"})
"""Records that no honest global header has: no two members share them."""
_LENGTH = re.compile(rb"[1-9][0-9]{0,9} ")


class TarMember(NamedTuple):
    """One member: what its header says, with all that extends it.

    Attributes:
        name: as it stands there; ``os.fsdecode`` of its bytes.
        kind: the type, a letter or digit.
        link: what a link holds.
        records: the records of its own pax header.
        offset: where the first byte of its headers is.
        data: where its bytes are; what lies before is header.
        size: the number of bytes that it stores.
        end: where the next member starts.
        extents: the pieces of a sparse file, in the place of ``size`` bytes; else None.
        real_size: bytes of the file once it is unpacked.
    """

    name: str
    kind: bytes
    link: str
    mode: int
    uid: int
    gid: int
    owner: str
    group: str
    mtime: float
    records: Mapping[str, str]
    offset: int
    data: int
    size: int
    end: int
    extents: tuple[Extent, ...] | None
    real_size: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder: before POSIX a slash at the end said so."""
        old = self.kind == OLD_REGULAR and self.name.endswith("/")
        return old or self.kind in (FOLDER, DUMP_FOLDER)

    @property
    def is_file(self) -> bool:
        """Whether it is a file with bytes of its own; POSIX takes unknown types for files."""
        return not self.is_folder and self.kind not in WITHOUT_DATA


class _Extended:
    """What headers before a member say of it, while they are read."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.name: bytes | None = None
        self.link: bytes | None = None
        self.records: list[tuple[str, str]] = []
        self.count = self.size = 0


def read_members(file: Reader, path: Path) -> Iterator[TarMember]:
    """The members of a tarball, in order, up to the block of zeros that ends it.

    Args:
        file: the unpacked archive.
        path: its name, for messages.

    Raises:
        BundleFixError: it is no tarball, is damaged or cut short, or continued elsewhere.
    """
    at = 0
    common: dict[str, str] = {}
    extended = _Extended(at)
    total = 0
    while True:
        block = file.pread(at, BLOCK)
        if block == ZEROS and not extended.count:
            return
        if len(block) < BLOCK or not _is_sound(block):
            raise _damaged(file, path, at)
        fields = HEADER.unpack(block)
        kind, size = fields[7], _number(fields[4])
        if size is None or size < 0:
            raise BundleFixError(
                f"the archive is damaged at byte {at}: a member's size is no size",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        if kind in EXTENSIONS:
            known = len(extended.records)
            at = _extend(extended, common, file, path, at, kind, size)
            total += size + RECORD_COST * (len(extended.records) - known)
            if kind == PAX_GLOBAL and extended.count == 1:
                # It is about all that follows, and stays where it is.
                extended = _Extended(at)
                total += BLOCK
            if total > MAX_EXTENDED:
                raise _too_long(path, at)
        elif kind == CONTINUED:
            raise BundleFixError(
                "it is a volume of an archive that starts in another one", where=str(path),
                hint="put the volumes together with 'tar --multi-volume'",
            )  # fmt: skip
        else:
            member = _member(fields, block, extended, common, file, path, at, size)
            at = member.end
            if kind == VOLUME:
                total += BLOCK
            else:
                yield member
            extended = _Extended(at)


def _is_sound(block: bytes) -> bool:
    """Whether a header's checksum is right, counted in either of the two ways that are in use."""
    told = _number(block[148:156])
    # The checksum counts as eight blanks.
    total = sum(block) - sum(block[148:156]) + 256
    if told == total:
        return True
    negative = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in block[148:156])
    return told == total - 256 * negative


def _damaged(file: Reader, path: Path, at: int) -> BundleFixError:
    if at == 0:
        return BundleFixError(
            "it is not a tarball that can be read", where=str(path),
            hint="tarballs (plain, gz, xz, zst, bz2), zip archives, packages, folders and ELF files"
            " can",
        )  # fmt: skip
    return BundleFixError(
        f"the archive is cut short or damaged at byte {at} of {file.size}",
        where=str(path), hint=AGAIN,
    )  # fmt: skip


def _number(field: bytes) -> int | None:
    """The number in a field: octal digits, or bytes of its two's complement (GNU, star)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        # The bit below the mark is the sign.
        sign = 1 << (8 * len(field) - 2)
        return value - 2 * sign if value & sign else value
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return None


def _extend(
    extended: _Extended, common: dict[str, str], file: Reader, path: Path, at: int,
    kind: bytes, size: int,
) -> int:  # fmt: skip
    """Take in a header that extends the next member's; returns where the next one starts."""
    extended.count += 1
    extended.size += size
    if extended.size > MAX_EXTENSION or extended.count > MAX_EXTENSIONS:
        raise _too_long(path, extended.offset)
    data = file.pread(at + BLOCK, size)
    if len(data) < size:
        raise _damaged(file, path, at + BLOCK + size)
    if kind == LONG_NAME:
        extended.name = data.split(b"\0", 1)[0]
    elif kind == LONG_LINK:
        extended.link = data.split(b"\0", 1)[0]
    else:
        records = list(_records(data, path, at))
        if kind == PAX_GLOBAL:
            _share(common, dict(records), path)
        else:
            extended.records += records
    return at + BLOCK + size + -size % BLOCK


def _too_long(path: Path, at: int) -> BundleFixError:
    return BundleFixError(
        f"the headers of members at byte {at} are longer than any honest ones",
        where=str(path), hint="an archive like this one must not be trusted",
    )  # fmt: skip


def _share(common: dict[str, str], records: Mapping[str, str], path: Path) -> None:
    if FATAL & records.keys() or len(records) > MAX_GLOBAL_RECORDS:
        raise BundleFixError(
            "a global header gives all members one name or size, or never ends", where=str(path),
            hint="an archive like this one must not be trusted",
        )  # fmt: skip
    common.update({name: value for name, value in records.items() if name in LIVING})


def _records(data: bytes, path: Path, offset: int) -> Iterator[tuple[str, str]]:
    """The records of a pax header: ``length name=value``, a line each."""
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        length = _LENGTH.match(data, at)
        end = at + int(length[0]) if length else at
        name, equals, value = data[length.end() if length else at : end - 1].partition(b"=")
        if not length or not equals or not name or end > len(data) or data[end - 1] != 0x0A:
            raise BundleFixError(
                f"the archive is damaged at byte {offset}: a pax header is none", where=str(path),
                hint=AGAIN,
            )  # fmt: skip
        yield _text(name), _text(value)
        at = end


def _member(
    fields: tuple[bytes, ...], block: bytes, extended: _Extended, common: Mapping[str, str],
    file: Reader, path: Path, at: int, size: int,
) -> TarMember:  # fmt: skip
    name, mode, uid, gid, _, mtime, _, kind, link, magic, _, owner, group, _, _, prefix = fields
    own = dict(extended.records) if extended.records else NO_RECORDS
    said = {**common, **own} if common else own
    size = _told_size(own, size, path, at)
    name = name.partition(b"\0")[0]
    if magic not in (POSIX_MAGIC, GNU_MAGIC):
        owner = group = b"\0"
    # GNU and star have times where POSIX has the prefix of the name, or its end.
    prefix = prefix[:STAR_PREFIX] if block.endswith(STAR_MARK) else prefix
    if magic == POSIX_MAGIC and prefix[0]:
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    data = at + BLOCK
    stored = 0 if kind in WITHOUT_DATA else size
    extents, real = None, stored
    if kind == SPARSE or (own and is_sparse(own) and kind not in WITHOUT_DATA):
        try:
            found = (
                read_gnu_extents(file, block, data, stored)
                if kind == SPARSE
                else read_pax_extents(file, extended.records, data, stored)
            )
        except SparseError as error:
            raise BundleFixError(
                f"the archive is damaged at byte {at}: {error}", where=str(path), hint=AGAIN
            ) from error
        extents, real, data, stored = found
    end = data + stored + -stored % BLOCK
    if data + stored > file.size:
        raise BundleFixError("the archive is cut short", where=str(path), hint=AGAIN)
    return TarMember(
        name=own.get("GNU.sparse.name") or own.get("path") or _text(extended.name or name),
        kind=kind,
        link=own.get("linkpath") or _text(extended.link or link.partition(b"\0")[0]),
        mode=(_number(mode) or 0) & 0o7777,
        uid=_whole(said.get("uid"), uid),
        gid=_whole(said.get("gid"), gid),
        owner=said.get("uname", _text(owner.partition(b"\0")[0])),
        group=said.get("gname", _text(group.partition(b"\0")[0])),
        mtime=_time(said.get("mtime"), mtime),
        records=own,
        offset=extended.offset,
        data=data,
        size=stored,
        end=end,
        extents=extents,
        real_size=real,
    )


def _told_size(records: Mapping[str, str], size: int, path: Path, at: int) -> int:
    told = records.get("size")
    if told is None:
        return size
    if not (told.isascii() and told.isdigit() and len(told) < 20):
        raise BundleFixError(
            f"the archive is damaged at byte {at}: a member's size is no size", where=str(path),
            hint=AGAIN,
        )  # fmt: skip
    return int(told)


def _whole(record: str | None, field: bytes) -> int:
    if record is not None and record.isascii() and record.isdigit() and len(record) < 20:
        return int(record)
    return _number(field) or 0


def _time(record: str | None, field: bytes) -> float:
    """Seconds since the epoch; 0 where a header has what is no time."""
    try:
        time = float(record) if record is not None else _number(field) or 0
    except ValueError:
        return 0
    # Not a number is not below anything either.
    return time if abs(time) < MAX_TIME else 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape") if raw else ""
