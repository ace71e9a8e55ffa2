"""Decompression of the members of a zip archive, with a check of their size and CRC-32."""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from bundle_fix.archive.compression.codecs import import_zstd
from bundle_fix.archive.compression.spool import write_sparse
from bundle_fix.archive.zip.structures import ZipEntry, format_entry_name
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError

STORED, DEFLATED, BZIP2, LZMA, ZSTD = 0, 8, 12, 14, 93
"""Compression methods (APPNOTE 4.4.5)."""
LZMA_HAS_END_MARKER = 0x2
"""Flag of a member whose LZMA data has an end marker (APPNOTE 4.4.4, bit 1)."""
LZMA_PREFIX, LZMA_PROPERTIES = 4, 5
"""Bytes before LZMA data: version and length of the properties; the properties (APPNOTE 5.8.8)."""


class EntryDecompressor(Protocol):
    """The common interface of the decompressors of bz2, lzma and zstd."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the data has been reached."""

    @property
    def unused_data(self) -> bytes:
        """Return the bytes that were added after the end of the data."""

    @property
    def needs_input(self) -> bool:
        """Return whether `decompress` returns nothing more without new data."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Add compressed data and return at most ``max_length`` decompressed bytes."""


class _Inflater:
    """A decompressor of raw deflate data with the interface `EntryDecompressor`."""

    def __init__(self) -> None:
        from isal import isal_zlib

        self._inflate = isal_zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self.eof = False
        self.unused_data = b""
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Add compressed data and return at most ``max_length`` decompressed bytes."""
        # For zlib the length 0 means no limit; for the others it is -1.
        result: bytes = self._inflate.decompress(
            self._inflate.unconsumed_tail + data, max(max_length, 0)
        )
        self.eof = self._inflate.eof
        self.unused_data = self._inflate.unused_data
        self.needs_input = not self._inflate.unconsumed_tail
        return result


def _create_lzma_decompressor(entry: ZipEntry, head: bytes) -> EntryDecompressor:
    """Return a decompressor for LZMA data in a zip archive.

    Python reads the format ``.lzma``, whose header is the LZMA properties and the size. A zip
    archive has the properties before the data and the size in the entry.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    # In an .lzma header the size -1 says that the data has an end marker.
    size = -1 if entry.flags & LZMA_HAS_END_MARKER else entry.size
    decompressor.decompress(head[LZMA_PREFIX:] + size.to_bytes(8, "little", signed=True))
    return decompressor


DECOMPRESSORS: dict[int, Callable[[ZipEntry, bytes], EntryDecompressor]] = {
    DEFLATED: lambda _entry, _head: _Inflater(),
    BZIP2: lambda _entry, _head: bz2.BZ2Decompressor(),
    LZMA: _create_lzma_decompressor,
    ZSTD: lambda _entry, _head: import_zstd().ZstdDecompressor(),
}


def unpack_entry(fd: int, entry: ZipEntry, path: Path, spool: IO[bytes] | None) -> None:
    """Unpack one member and compare its size and CRC-32 with its entry.

    Args:
        fd: the open archive.
        entry: the member.
        path: the archive's name, for messages.
        spool: the file to write the bytes to; None to only compare them.

    Raises:
        BundleFixError: size or CRC-32 differ, the data is damaged, or the compression method is
            not supported.
    """
    crc = 0
    remaining = entry.size
    for chunk in _iterate_chunks(fd, entry, path):
        remaining -= len(chunk)
        crc = zlib.crc32(chunk, crc)
        # Stop at once: the data may unpack to far more than its entry says.
        if remaining < 0:
            break
        if spool is not None:
            write_sparse(spool, chunk)
    if remaining or crc != entry.crc:
        problem = "size" if remaining else "CRC-32"
        raise BundleFixError(
            f"the archive is damaged: {problem} mismatch between header and data of"
            f" {format_entry_name(entry)}",
            where=str(path), hint=AGAIN,
        )  # fmt: skip


def _iterate_chunks(fd: int, entry: ZipEntry, path: Path) -> Iterator[bytes]:
    """Return the unpacked bytes in chunks of at most `CHUNK` bytes."""
    if entry.method == STORED:
        return _read_stored_chunks(fd, entry)
    if entry.method not in DECOMPRESSORS:
        raise BundleFixError(
            f"unknown compression method {entry.method} of the member {format_entry_name(entry)}",
            where=str(path), hint="use deflate, bzip2, LZMA or zstd",
        )  # fmt: skip
    return _decompress_chunks(fd, entry, path)


def _read_stored_chunks(fd: int, entry: ZipEntry) -> Iterator[bytes]:
    offset, end = entry.data, entry.data + entry.packed
    while offset < end and (chunk := os.pread(fd, min(CHUNK, end - offset), offset)):
        offset += len(chunk)
        yield chunk


def _decompress_chunks(fd: int, entry: ZipEntry, path: Path) -> Iterator[bytes]:
    offset, end = entry.data, entry.data + entry.packed
    head = b""
    if entry.method == LZMA:
        head = os.pread(fd, min(entry.packed, LZMA_PREFIX + LZMA_PROPERTIES), offset)
        offset += len(head)
    try:
        decompressor = DECOMPRESSORS[entry.method](entry, head)
        while not decompressor.eof:
            packed = b""
            if decompressor.needs_input:
                packed = os.pread(fd, min(CHUNK, end - offset), offset)
                offset += len(packed)
            chunk = decompressor.decompress(packed, CHUNK)
            # The data is truncated; `unpack_entry` reports that by its size.
            if not packed and not chunk:
                return
            yield chunk
        # LZMA data may have an end marker after its last byte.
        if entry.method != LZMA and (decompressor.unused_data or offset < end):
            raise BundleFixError(
                f"the member {format_entry_name(entry)} has bytes after its compressed data: bsdtar"
                " unpacks zeros, unzip and Python ignore them",
                where=str(path), hint=UNTRUSTED,
            )  # fmt: skip
    except BundleFixError:
        raise
    except Exception as error:
        # Each library has its own error types (zlib.error, LZMAError, ZstdError, IsalError).
        raise BundleFixError(
            f"the archive is damaged: {format_entry_name(entry)}: {str(error) or 'invalid data'}",
            where=str(path),
            hint=AGAIN,
        ) from error
