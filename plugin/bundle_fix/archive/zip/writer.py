"""Writer of zip archives: unchanged members are copied byte for byte, without recompression."""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from typing import IO, NamedTuple

from zlib_ng import zlib_ng

from bundle_fix.archive.compression.codecs import DEFLATE_LEVEL
from bundle_fix.archive.zip.data import DEFLATED, STORED
from bundle_fix.archive.zip.member_headers import MS_DIRECTORY, UNIX, ZipArchive, ZipHeader
from bundle_fix.archive.zip.structures import (
    END,
    END64,
    END64_RECORD,
    END_RECORD,
    ENTRY,
    ENTRY_MARK,
    FIELD,
    LARGE,
    LARGE_COUNT,
    LOCAL,
    LOCAL_MARK,
    LOCATOR,
    LOCATOR64,
    UTF8,
    ZIP64,
    drop_zip64_field,
    join_extra_fields,
    split_extra_fields,
)
from bundle_fix.model.content import (
    BytesContent,
    Content,
    read_chunks,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import StepProgress, no_step_progress, track_parts
from bundle_fix.model.tree import Directory, File, Node, Symlink, Tree

VERSION, VERSION64 = 20, 45
"""Versions needed to unpack (APPNOTE 4.4.3): of deflate and directories; of zip64."""
OLDEST, NEWEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
"""The oldest and the newest time of the MS-DOS format, which zip uses (APPNOTE 4.4.6)."""
ZIP64_SIZE = 1 << 31
"""Uncompressed bytes above which a member gets a zip64 extra field. It is written before the data,
whose compressed size is unknown then and may be larger."""
SIZES, OFFSET = struct.Struct("<QQ"), struct.Struct("<Q")


class _EntryFields(NamedTuple):
    """The fields of both headers of a member, without those that depend on its data."""

    name: bytes
    system: int
    flags: int
    method: int
    time: int
    date: int
    internal: int
    external: int
    extra: bytes
    local_extra: bytes
    comment: bytes


def write_zip(tree: Tree, file: IO[bytes], progress: StepProgress = no_step_progress) -> None:
    """Write ``tree`` as a zip archive; hard links become copies.

    Args:
        tree: the members to write; their contents must still be open.
        file: an empty file, open for reading and writing, that can be seeked.
        progress: receives the number of written members.

    Raises:
        BundleFixError: a new member is a device, FIFO or socket.
    """
    records: list[bytes] = []
    headers = (node.header for node in tree.nodes.values())
    old = next((header.archive for header in headers if isinstance(header, ZipHeader)), None)
    if old is not None:
        _copy_content(old.preceding, file)
    for path, node in track_parts(tree.nodes.items(), progress):
        start = file.tell()
        header = node.header
        if isinstance(header, ZipHeader) and _has_original_content(node, header):
            _copy_content(header.member, file)
            records.append(_relocate_record(header.entry.raw, start))
        else:
            records.append(_write_member(tree, path, node, file, start))
    _write_end(records, file, old)


def _has_original_content(node: Node, header: ZipHeader) -> bool:
    """Return whether a member still has the content that it was read with."""
    return not isinstance(node, File) or node.content == header.content


def _copy_content(content: Content, file: IO[bytes]) -> None:
    """Append all bytes of ``content`` to ``file``."""
    with content.open() as reader:
        for chunk in read_chunks(reader):
            file.write(chunk)


def _relocate_record(raw: bytes, start: int) -> bytes:
    """Return the entry ``raw`` of the central directory with the new offset ``start``."""
    values = list(ENTRY.unpack_from(raw))
    name, extra = values[11], values[12]
    body = raw[ENTRY.size + name : ENTRY.size + name + extra]
    fields = split_extra_fields(body)
    if values[-1] == LARGE or start >= LARGE:
        numbers = next((data for kind, data in fields if kind == ZIP64), b"")
        # The zip64 field contains the sizes that are `LARGE`, then the offset (APPNOTE 4.5.3).
        position = 8 * sum(values[index] == LARGE for index in (9, 10))
        large = numbers[:position] + OFFSET.pack(start)
        if values[-1] == LARGE:
            large += numbers[position + 8 :]
        body = join_extra_fields([(ZIP64, large)]) + drop_zip64_field(body)
        start = LARGE
    values[12], values[-1] = len(body), start
    tail = raw[ENTRY.size + name + extra :]
    return ENTRY.pack(*values) + raw[ENTRY.size : ENTRY.size + name] + body + tail


def _write_member(tree: Tree, path: str, node: Node, file: IO[bytes], start: int) -> bytes:
    """Write a new or changed member and return its entry in the central directory."""
    fields = _build_fields(tree, path, node)
    content: Content = BytesContent(b"")
    if isinstance(node, File):
        content = node.content
    elif isinstance(node, Symlink):
        content = BytesContent(os.fsencode(node.target))
    large = content.size >= ZIP64_SIZE
    # CRC-32 and sizes are unknown before the data is written; the header is overwritten then.
    file.write(_build_local_header(fields, 0, 0, 0, large=large))
    crc, packed = _write_data(content, fields.method, file, path)
    end = file.tell()
    file.seek(start)
    file.write(_build_local_header(fields, crc, packed, content.size, large=large))
    file.seek(end)
    numbers = [n for n in (content.size, packed, start) if n >= LARGE]
    extra = FIELD.pack(ZIP64, 8 * len(numbers)) if numbers else b""
    extra += b"".join(map(OFFSET.pack, numbers)) + fields.extra
    return ENTRY.pack(
        ENTRY_MARK, VERSION64 if large or numbers else VERSION, fields.system,
        VERSION64 if large or numbers else VERSION, fields.flags, fields.method, fields.time,
        fields.date, crc, min(packed, LARGE), min(content.size, LARGE), len(fields.name),
        len(extra), len(fields.comment), 0, fields.internal, fields.external, min(start, LARGE),
    ) + fields.name + extra + fields.comment  # fmt: skip


def _build_local_header(
    fields: _EntryFields, crc: int, packed: int, size: int, *, large: bool
) -> bytes:
    """Return the local header (APPNOTE 4.3.7) with name and extra fields."""
    extra = fields.local_extra
    sizes = (packed, size)
    if large:
        extra = FIELD.pack(ZIP64, SIZES.size) + SIZES.pack(size, packed) + extra
        sizes = (LARGE, LARGE)
    return LOCAL.pack(
        LOCAL_MARK, VERSION64 if large else VERSION, fields.flags, fields.method, fields.time,
        fields.date, crc, *sizes, len(fields.name), len(extra),
    ) + fields.name + extra  # fmt: skip


def _write_data(content: Content, method: int, file: IO[bytes], path: str) -> tuple[int, int]:
    """Write a member's bytes; return their CRC-32 and the number of written bytes."""
    start, crc = file.tell(), 0
    with content.open() as reader:
        if method == STORED:
            for chunk in read_chunks(reader, path):
                crc = zlib.crc32(chunk, crc)
                file.write(chunk)
            return crc, file.tell() - start
        compressor = zlib_ng.compressobj(DEFLATE_LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
        for chunk in read_chunks(reader, path):
            crc = zlib.crc32(chunk, crc)
            file.write(compressor.compress(chunk))
        file.write(compressor.flush())
    return crc, file.tell() - start


def _build_fields(tree: Tree, path: str, node: Node) -> _EntryFields:
    """Return the fields of a member: those it was read with, or new ones from its metadata."""
    header = node.header
    if isinstance(header, ZipHeader):
        e = header.entry
        extra, local_extra = drop_zip64_field(e.extra), drop_zip64_field(e.local_extra)
        method = STORED if e.method == STORED else DEFLATED
        return _EntryFields(e.name, e.system, e.flags & UTF8, method, e.time, e.date, e.internal,
                       e.external, extra, local_extra, e.comment)  # fmt: skip
    kind = {Directory: stat.S_IFDIR, Symlink: stat.S_IFLNK, File: stat.S_IFREG}.get(type(node))
    if kind is None:
        raise BundleFixError("a zip archive cannot contain a device, fifo or socket", where=path)
    text = "/".join(part for part in (tree.top, path) if part) + "/" * (kind == stat.S_IFDIR)
    flags = 0 if text.isascii() else UTF8
    external = (kind | node.metadata.mode) << 16 | (MS_DIRECTORY if kind == stat.S_IFDIR else 0)
    method = DEFLATED if isinstance(node, File) else STORED
    clock, date = _encode_dos_time(node.metadata.mtime)
    name = text.encode("utf-8", "surrogateescape")
    return _EntryFields(name, UNIX, flags, method, clock, date, 0, external, b"", b"", b"")


def _encode_dos_time(mtime: float) -> tuple[int, int]:
    """Return time and date in the MS-DOS format, in UTC and to two seconds."""
    year, month, day, hour, minute, second = min(
        max(time.gmtime(min(max(mtime, 0), 1 << 33))[:6], OLDEST), NEWEST
    )
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _write_end(records: list[bytes], file: IO[bytes], old: ZipArchive | None) -> None:
    """Write the central directory and the end records (APPNOTE 4.3.12 to 4.3.16)."""
    comment = old.comment if old else b""
    start = file.tell()
    file.writelines(records)
    length, count = file.tell() - start, len(records)
    if count >= LARGE_COUNT or max(start, length) >= LARGE or (old and old.is_zip64):
        end = file.tell()
        file.write(END64_RECORD.pack(END64, END64_RECORD.size - 12, VERSION64, VERSION64, 0, 0,
                                     count, count, length, start))  # fmt: skip
        file.write(LOCATOR.pack(LOCATOR64, 0, end, 1))
    few = min(count, LARGE_COUNT)
    file.write(END_RECORD.pack(END, 0, 0, few, few, min(length, LARGE), min(start, LARGE),
                               len(comment)) + comment)  # fmt: skip
