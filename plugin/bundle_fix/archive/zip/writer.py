"""Zip archives written: members that stay are copied as they stand, compressed bytes and all."""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

from msgspec import Struct
from zlib_ng import zlib_ng

from bundle_fix.archive.compression.codecs import DEFLATE_LEVEL
from bundle_fix.archive.zip.central_directory import (
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
    ZipEntry,
    split_extra_fields,
)
from bundle_fix.archive.zip.data import DEFLATED, STORED
from bundle_fix.model.content import (
    BytesContent,
    BytesReader,
    Content,
    FileSlice,
    Reader,
    read_chunks,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import StepProgress, no_step_progress, track_parts
from bundle_fix.model.tree import Directory, File, Node, Symlink, Tree

UNIX = 3
VERSION, VERSION64 = 20, 45
"""What is needed to unpack (APPNOTE 4.4.3): deflate and folders; zip64."""
EPOCH, LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
"""The oldest and the newest time that a zip archive can hold."""
ZIP64_SIZE = 1 << 31
"""Bytes from which on a member has room for larger numbers."""
MS_FOLDER = 0x10
SIZES, OFFSET = struct.Struct("<QQ"), struct.Struct("<Q")


class ZipArchive(Struct, frozen=True):
    """What is of no member: what stands before the first one, and what the end says."""

    front: FileSlice
    comment: bytes
    is_large: bool


class ZipHeader(Struct, frozen=True):
    """What an archive says of a member besides its bytes; ``content`` is what it says it of.

    ``whole`` are all bytes of the member as it stands.
    """

    entry: ZipEntry
    content: Content
    whole: FileSlice
    archive: ZipArchive

    @property
    def size(self) -> int:
        """Number of bytes of the local header."""
        return self.entry.data - self.entry.start

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the local header."""
        with self.whole.open() as reader:
            yield BytesReader(reader.pread(0, self.size))


class _Fields(NamedTuple):
    """What both headers of a member say, but for sizes and places."""

    name: bytes
    system: int
    flags: int
    method: int
    time: int
    date: int
    internal: int
    external: int
    extra: bytes
    comment: bytes


def write_zip(tree: Tree, file: IO[bytes], tell: StepProgress = no_step_progress) -> None:
    """Write ``tree`` as a zip archive; hard links become copies.

    Args:
        tree: what to write; its contents must still be open.
        file: an empty file that can be read and written anywhere.
        tell: is told how many nodes of ``tree`` are written.

    Raises:
        BundleFixError: a member is of a kind that zip archives cannot hold.
    """
    records: list[bytes] = []
    headers = (node.header for node in tree.nodes.values())
    old = next((header.archive for header in headers if isinstance(header, ZipHeader)), None)
    if old is not None:
        _copy(old.front, file)
    for path, node in track_parts(tree.nodes.items(), tell):
        start = file.tell()
        header = node.header
        if isinstance(header, ZipHeader) and _stays(node, header):
            _copy(header.whole, file)
            records.append(_moved(header.entry.raw, start))
        else:
            records.append(_write_member(tree, path, node, file, start))
    _write_end(records, file, old)


def _stays(node: Node, header: ZipHeader) -> bool:
    return not isinstance(node, File) or node.content == header.content


def _copy(content: Content, file: IO[bytes]) -> None:
    with content.open() as reader:
        for piece in read_chunks(reader):
            file.write(piece)


def _moved(raw: bytes, start: int) -> bytes:
    """A record of the directory for a member that starts elsewhere now."""
    values = list(ENTRY.unpack_from(raw))
    name, extra = values[11], values[12]
    body = raw[ENTRY.size + name : ENTRY.size + name + extra]
    fields = split_extra_fields(body)
    if values[-1] == LARGE or start >= LARGE:
        known = next((data for kind, data in fields if kind == ZIP64), b"")
        place = 8 * sum(values[at] == LARGE for at in (9, 10))
        large = known[:place] + OFFSET.pack(start)
        if values[-1] == LARGE:
            large += known[place + 8 :]
        rest = [(kind, data) for kind, data in fields if kind != ZIP64]
        body = b"".join(FIELD.pack(kind, len(d)) + d for kind, d in [(ZIP64, large), *rest])
        start = LARGE
    values[12], values[-1] = len(body), start
    tail = raw[ENTRY.size + name + extra :]
    return ENTRY.pack(*values) + raw[ENTRY.size : ENTRY.size + name] + body + tail


def _write_member(tree: Tree, path: str, node: Node, file: IO[bytes], start: int) -> bytes:
    """Write a new or changed member; returns its record in the directory."""
    fields = _fields(tree, path, node)
    content: Content = BytesContent(b"")
    if isinstance(node, File):
        content = node.content
    elif isinstance(node, Symlink):
        content = BytesContent(os.fsencode(node.target))
    large = content.size >= ZIP64_SIZE
    file.write(_local(fields, 0, 0, 0, large=large))
    crc, packed = _write_data(content, fields.method, file, path)
    end = file.tell()
    file.seek(start)
    file.write(_local(fields, crc, packed, content.size, large=large))
    file.seek(end)
    numbers = [n for n in (content.size, packed, start) if n >= LARGE]
    more = FIELD.pack(ZIP64, 8 * len(numbers)) if numbers else b""
    more += b"".join(map(OFFSET.pack, numbers)) + fields.extra
    return ENTRY.pack(
        ENTRY_MARK, VERSION64 if large or numbers else VERSION, fields.system,
        VERSION64 if large or numbers else VERSION, fields.flags, fields.method, fields.time,
        fields.date, crc, min(packed, LARGE), min(content.size, LARGE), len(fields.name), len(more),
        len(fields.comment), 0, fields.internal, fields.external, min(start, LARGE),
    ) + fields.name + more + fields.comment  # fmt: skip


def _local(fields: _Fields, crc: int, packed: int, size: int, *, large: bool) -> bytes:
    extra = fields.extra
    told = (packed, size)
    if large:
        extra = FIELD.pack(ZIP64, SIZES.size) + SIZES.pack(size, packed) + extra
        told = (LARGE, LARGE)
    return LOCAL.pack(
        LOCAL_MARK, VERSION64 if large else VERSION, fields.flags, fields.method, fields.time,
        fields.date, crc, *told, len(fields.name), len(extra),
    ) + fields.name + extra  # fmt: skip


def _write_data(content: Content, method: int, file: IO[bytes], path: str) -> tuple[int, int]:
    """Write a member's bytes; return their CRC-32 and the number of written bytes."""
    start, crc = file.tell(), 0
    with content.open() as reader:
        if method == STORED:
            for piece in read_chunks(reader, path):
                crc = zlib.crc32(piece, crc)
                file.write(piece)
            return crc, file.tell() - start
        compressor = zlib_ng.compressobj(DEFLATE_LEVEL, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
        for piece in read_chunks(reader, path):
            crc = zlib.crc32(piece, crc)
            file.write(compressor.compress(piece))
        file.write(compressor.flush())
    return crc, file.tell() - start


def _fields(tree: Tree, path: str, node: Node) -> _Fields:
    """What the archive says of a member: as it was read, or made from its stamp."""
    header = node.header
    if isinstance(header, ZipHeader):
        e = header.entry
        extra = b"".join(
            FIELD.pack(kind, len(data)) + data
            for kind, data in split_extra_fields(e.extra)
            if kind != ZIP64
        )
        method = STORED if e.method == STORED else DEFLATED
        return _Fields(e.name, e.system, e.flags & UTF8, method, e.time, e.date, e.internal,
                       e.external, extra, e.comment)  # fmt: skip
    kind = {Directory: stat.S_IFDIR, Symlink: stat.S_IFLNK, File: stat.S_IFREG}.get(type(node))
    if kind is None:
        raise BundleFixError("a zip archive can hold no device, fifo or socket", where=path)
    text = "/".join(part for part in (tree.top, path) if part) + "/" * (kind == stat.S_IFDIR)
    flags = 0 if text.isascii() else UTF8
    external = (kind | node.metadata.mode) << 16 | (MS_FOLDER if kind == stat.S_IFDIR else 0)
    method = DEFLATED if isinstance(node, File) else STORED
    when, date = _dos_time(node.metadata.mtime)
    name = text.encode("utf-8", "surrogateescape")
    return _Fields(name, UNIX, flags, method, when, date, 0, external, b"", b"")


def _dos_time(mtime: float) -> tuple[int, int]:
    year, month, day, hour, minute, second = min(
        max(time.gmtime(min(max(mtime, 0), 1 << 33))[:6], EPOCH), LAST
    )
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def _write_end(records: list[bytes], file: IO[bytes], old: ZipArchive | None) -> None:
    comment = old.comment if old else b""
    start = file.tell()
    file.writelines(records)
    length, count = file.tell() - start, len(records)
    if count >= LARGE_COUNT or max(start, length) >= LARGE or (old and old.is_large):
        end = file.tell()
        file.write(END64_RECORD.pack(END64, END64_RECORD.size - 12, VERSION64, VERSION64, 0, 0,
                                     count, count, length, start))  # fmt: skip
        file.write(LOCATOR.pack(LOCATOR64, 0, end, 1))
    few = min(count, LARGE_COUNT)
    file.write(END_RECORD.pack(END, 0, 0, few, few, min(length, LARGE), min(start, LARGE),
                               len(comment)) + comment)  # fmt: skip
