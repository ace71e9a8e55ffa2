"""The bytes of a zip archive's members, unpacked and checked against size and CRC."""

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
from bundle_fix.archive.zip.central_directory import ZipEntry, format_name
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import AGAIN, BundleFixError

STORED, DEFLATED, BZIP2, LZMA, ZSTD = 0, 8, 12, 14, 93
LZMA_ENDS = 0x2
"""The flag of a member whose LZMA data has a mark at its end (APPNOTE 4.4.4)."""
LZMA_HEAD = 4


class EntryDecompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the data was met."""

    @property
    def needs_input(self) -> bool:
        """Whether it has nothing more to give for what it was given."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Up to ``max_length`` bytes."""


class _Inflater:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        from isal import isal_zlib

        self._inflate = isal_zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self.eof = False
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        found: bytes = self._inflate.decompress(
            self._inflate.unconsumed_tail + data, max(max_length, 0)
        )
        self.eof = self._inflate.eof
        self.needs_input = not self._inflate.unconsumed_tail
        return found


def _lzma(entry: ZipEntry, head: bytes) -> EntryDecompressor:
    """A decompressor that was told what zip has in another order than the format ``.lzma``."""
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    size = -1 if entry.flags & LZMA_ENDS else entry.size
    decompressor.decompress(head[LZMA_HEAD:] + size.to_bytes(8, "little", signed=True))
    return decompressor


UNPACKERS: dict[int, Callable[[ZipEntry, bytes], EntryDecompressor]] = {
    DEFLATED: lambda _entry, _head: _Inflater(),
    BZIP2: lambda _entry, _head: bz2.BZ2Decompressor(),
    LZMA: _lzma,
    ZSTD: lambda _entry, _head: import_zstd().ZstdDecompressor(),
}


def unpack_entry(fd: int, entry: ZipEntry, path: Path, spool: IO[bytes] | None) -> None:
    """Unpack one member, and see that it is what the archive says.

    Args:
        fd: the open archive.
        entry: the member.
        path: the archive's name, for messages.
        spool: where its bytes go; None to check them alone.

    Raises:
        BundleFixError: they are others, or more or fewer; or nobody here can unpack them.
    """
    crc = left = 0
    left = entry.size
    for piece in _pieces(fd, entry, path):
        left -= len(piece)
        crc = zlib.crc32(piece, crc)
        if left < 0:
            break
        if spool is not None:
            write_sparse(spool, piece)
    if left or crc != entry.crc:
        what = "size" if left else "CRC"
        raise BundleFixError(
            f"the archive is damaged: the {what} of {format_name(entry)} is not what it says",
            where=str(path), hint=AGAIN,
        )  # fmt: skip


def _pieces(fd: int, entry: ZipEntry, path: Path) -> Iterator[bytes]:
    """The unpacked bytes in pieces of at most `CHUNK`."""
    at, end = entry.data, entry.data + entry.packed
    if entry.method == STORED:
        while at < end and (piece := os.pread(fd, min(CHUNK, end - at), at)):
            at += len(piece)
            yield piece
        return
    make = UNPACKERS.get(entry.method)
    if make is None:
        raise BundleFixError(
            f"the member {format_name(entry)} has the unknown compression method"
            f" {entry.method}",
            where=str(path), hint="deflate, bzip2, LZMA and zstd can",
        )  # fmt: skip
    head = b""
    if entry.method == LZMA:
        head = os.pread(fd, min(entry.packed, LZMA_HEAD + 5), at)
        at += len(head)
    try:
        unpacker = make(entry, head)
        while not unpacker.eof:
            packed = b""
            if unpacker.needs_input:
                packed = os.pread(fd, min(CHUNK, end - at), at)
                at += len(packed)
            piece = unpacker.decompress(packed, CHUNK)
            if not packed and not piece:
                return
            yield piece
    except BundleFixError:
        raise
    except Exception as error:
        # Every library has error types of its own (zlib.error, LZMAError, ZstdError, IsalError).
        raise BundleFixError(
            f"the archive is damaged: {format_name(entry)}: {str(error) or 'invalid data'}",
            where=str(path),
            hint=AGAIN,
        ) from error
