"""The headers of a tarball, member by member, as POSIX, GNU tar and star write them.

Python's tarfile keeps a kilobyte for every member, takes a damaged header for the end of the
archive, and raises any exception for a malformed one; here every number is bounded before use.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar's
manual, "Basic Tar Format"; star(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bundle_fix.archive.tar.ambiguity import (
    TarAmbiguity,
    build_ambiguity_error,
    find_extension_ambiguity,
    find_header_ambiguity,
    find_member_ambiguity,
)
from bundle_fix.archive.tar.extensions import (
    BLOCK,
    Extensions,
    build_damage_error,
    build_limit_error,
    read_extension,
)
from bundle_fix.archive.tar.fields import (
    decode_id,
    decode_number,
    decode_text,
    decode_time,
    has_valid_checksum,
    is_decimal,
)
from bundle_fix.archive.tar.sparse import (
    Extent,
    SparseError,
    SparseMap,
    is_sparse,
    read_gnu_extents,
    read_pax_extents,
)
from bundle_fix.archive.tar.type_flags import (
    CONTINUATION,
    DIRECTORY,
    EXTENSION_TYPES,
    OLD_REGULAR,
    PAX_GLOBAL,
    SPARSE,
    TYPES_WITHOUT_DATA,
)
from bundle_fix.model.content import CHUNK, Reader
from bundle_fix.model.errors import AGAIN, BundleFixError

ZEROS = bytes(BLOCK)
HEADER = Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")

POSIX_MAGIC, GNU_MAGIC = b"ustar\0", b"ustar "
STAR_MARK, STAR_PREFIX_SIZE = b"tar\0", 131

MAX_TOTAL_EXTENSION_SIZE = 128 << 20
"""Bytes of all extension headers of an archive: their records are kept in memory."""
RECORD_COST = 96
"""Bytes of memory that a pax record takes in addition to its text."""
VOLUME_HINT = "unpack all volumes with 'tar --multi-volume' and pack them as one archive"
NO_RECORDS: Mapping[str, str] = {}


class TarMember(NamedTuple):
    """One member: its header, with everything that extends it.

    Attributes:
        name: its name as stored, decoded like `os.fsdecode`.
        kind: the type flag, one byte.
        link: the target of a symlink or hard link.
        records: the records of its own pax header.
        offset: the offset of its first header.
        data_offset: the offset of its data; the bytes before it are headers.
        size: the number of bytes of data that it stores.
        end: the offset of the next member.
        extents: the stored pieces of a sparse file; None for other members.
        real_size: the size of the unpacked file in bytes.
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
    data_offset: int
    size: int
    end: int
    extents: tuple[Extent, ...] | None
    real_size: int

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory; before POSIX a slash after the name marked one."""
        is_old = self.kind == OLD_REGULAR and self.name.endswith("/")
        return is_old or self.kind == DIRECTORY


def read_members(file: Reader, path: Path) -> Iterator[TarMember]:
    """Yield the members of a tarball in order, up to the block of zeros that ends it.

    Args:
        file: the decompressed archive.
        path: its name, for messages.

    Raises:
        BundleFixError: it is not a tarball, is damaged or truncated, exceeds a safety limit, or
            is a later volume of a multi-volume archive.
    """
    at = total = 0
    global_records: dict[str, str] = {}
    extensions = Extensions(at)
    while True:
        block = file.pread(at, BLOCK)
        is_end = not block and at == file.size and at > 0
        if (block == ZEROS or is_end) and not extensions.kinds:
            # Some tools do not write the blocks of zeros; the others read such an archive.
            _check_end(file, at, path)
            return
        fields, kind, size = _unpack_header(block, file, path, at)
        if kind in EXTENSION_TYPES:
            count = len(extensions.records)
            at = read_extension(extensions, global_records, file, path, at, kind, size)
            total += size + RECORD_COST * (len(extensions.records) - count)
            if kind == PAX_GLOBAL and len(extensions.kinds) == 1:
                # A global header belongs to no member: the next member starts after it.
                extensions = Extensions(at)
                total += BLOCK
            if total > MAX_TOTAL_EXTENSION_SIZE:
                raise build_limit_error(f"{MAX_TOTAL_EXTENSION_SIZE >> 20} MiB", path, at)
        elif kind == CONTINUATION:
            raise BundleFixError(
                "it is a later volume of a multi-volume archive", where=str(path), hint=VOLUME_HINT
            )
        else:
            member = _build_member(fields, block, extensions, global_records, file, path, at, size)
            at = member.end
            yield member
            extensions = Extensions(at)


def _check_end(file: Reader, at: int, path: Path) -> None:
    """Raise a BundleFixError if another header follows the end of the archive at ``at``."""
    for start in range(at, file.size, CHUNK):
        chunk = file.pread(start, CHUNK)
        if not chunk.strip(b"\0"):
            continue
        for offset in range(0, len(chunk) - BLOCK + 1, BLOCK):
            block = chunk[offset : offset + BLOCK]
            if block != ZEROS and has_valid_checksum(block):
                name = decode_text(_join_name(HEADER.unpack(block), block))
                raise build_ambiguity_error(TarAmbiguity.MEMBER_AFTER_END, name, path)


def _unpack_header(
    block: bytes, file: Reader, path: Path, at: int
) -> tuple[tuple[bytes, ...], bytes, int]:
    """Return the fields of a header, its type flag and its size field.

    Raises:
        BundleFixError: the block is truncated, its checksum or size is invalid, or tools read it
            differently.
    """
    if len(block) < BLOCK or not has_valid_checksum(block):
        raise build_damage_error(file, path, at)
    fields = HEADER.unpack(block)
    ambiguity = find_header_ambiguity(block)
    if ambiguity:
        name = decode_text(_join_name(fields, block))
        raise build_ambiguity_error(ambiguity, name, path)
    size = decode_number(fields[4])
    if size is None or size < 0:
        raise _build_size_error(path, at)
    return fields, fields[7], size


def _build_size_error(path: Path, at: int) -> BundleFixError:
    return BundleFixError(
        f"the archive is damaged at byte {at}: invalid size field", where=str(path), hint=AGAIN
    )


def _build_member(
    fields: tuple[bytes, ...], block: bytes, extensions: Extensions,
    global_records: Mapping[str, str], file: Reader, path: Path, at: int, size: int,
) -> TarMember:  # fmt: skip
    """Return the member whose header is ``block``; its own records win over the global ones."""
    _, mode, uid, gid, _, mtime, _, kind, _, magic, _, owner, group, *_ = fields
    own = dict(extensions.records) if extensions.records else NO_RECORDS
    records = {**global_records, **own} if global_records else own
    if magic not in (POSIX_MAGIC, GNU_MAGIC):
        owner = group = b"\0"
    size = _choose_size(own, size, path, at)
    data, stored = at + BLOCK, 0 if kind in TYPES_WITHOUT_DATA else size
    extents, real = None, stored
    sparse = _read_sparse_map(block, kind, extensions, file, path, data, stored)
    if sparse is not None:
        extents, real, data, stored = sparse
    is_sparse_file = sparse is not None
    name, target = _choose_names(fields, block, extensions, own, path, is_sparse=is_sparse_file)
    if data + stored > file.size:
        raise BundleFixError("the archive is truncated", where=str(path), hint=AGAIN)
    return TarMember(
        name=name,
        kind=kind,
        link=target,
        mode=(decode_number(mode) or 0) & 0o7777,
        uid=decode_id(records.get("uid"), uid),
        gid=decode_id(records.get("gid"), gid),
        owner=records.get("uname", decode_text(owner.partition(b"\0")[0])),
        group=records.get("gname", decode_text(group.partition(b"\0")[0])),
        mtime=decode_time(records.get("mtime"), mtime),
        records=own,
        offset=extensions.offset,
        data_offset=data,
        size=stored,
        end=data + stored + -stored % BLOCK,
        extents=extents,
        real_size=real,
    )


def _choose_names(
    fields: tuple[bytes, ...], block: bytes, extensions: Extensions, own: Mapping[str, str],
    path: Path, *, is_sparse: bool,
) -> tuple[str, str]:  # fmt: skip
    """Return the name of a member and the target of a link: of its extensions, else of its header.

    Raises:
        BundleFixError: tools read them differently.
    """
    header_name, header_link = _join_name(fields, block), fields[8].partition(b"\0")[0]
    in_header = {"path": decode_text(header_name), "linkpath": decode_text(header_link)}
    raw_name = extensions.name or header_name
    name = own.get("GNU.sparse.name") or own.get("path") or decode_text(raw_name)
    target = own.get("linkpath") or decode_text(extensions.link or header_link)
    ambiguity = find_extension_ambiguity(extensions.kinds, own) or find_member_ambiguity(
        block, name, target, own, in_header, is_sparse=is_sparse
    )
    if ambiguity:
        raise build_ambiguity_error(ambiguity, name, path)
    return name, target


def _choose_size(records: Mapping[str, str], size: int, path: Path, at: int) -> int:
    """Return the size in a member's own pax records, or else ``size``, that of its header."""
    record = records.get("size")
    if record is None:
        return size
    if not is_decimal(record):
        raise _build_size_error(path, at)
    return int(record)


def _read_sparse_map(
    block: bytes, kind: bytes, extensions: Extensions, file: Reader, path: Path, data: int,
    size: int,
) -> SparseMap | None:  # fmt: skip
    """Return the map of a sparse member whose data starts at ``data``; None for other members."""
    try:
        if kind == SPARSE:
            return read_gnu_extents(file, block, data, size)
        if is_sparse(extensions.records) and kind not in TYPES_WITHOUT_DATA:
            return read_pax_extents(file, extensions.records, data, size)
    except SparseError as error:
        raise BundleFixError(
            f"the archive is damaged at byte {data - BLOCK}: {error}", where=str(path), hint=AGAIN
        ) from error
    return None


def _join_name(fields: tuple[bytes, ...], block: bytes) -> bytes:
    """Return the name in a header: in POSIX's format its first directories are a prefix field."""
    name, magic, prefix = fields[0].partition(b"\0")[0], fields[9], fields[15]
    if block.endswith(STAR_MARK):
        # star stores access and change times in the last 24 bytes of the prefix.
        prefix = prefix[:STAR_PREFIX_SIZE]
    if magic == POSIX_MAGIC and prefix[0]:
        return prefix.split(b"\0", 1)[0] + b"/" + name
    return name
