"""Compression formats of tarballs, each with the library that is fastest for it.

The libraries are imported when they are used: most commands need one of them, or none.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from msgspec import Struct

from bundle_fix.archive.compression.multistream import (
    Decompressor,
    MultiStreamReader,
    StreamFormat,
)
from bundle_fix.subprocesses.processors import count_cores

if TYPE_CHECKING:
    from bundle_fix.archive.compression.xz_blocks import XzWriter

DEFLATE_LEVEL = 6
"""Level of zlib-ng for gzip and zip: its output is 3% larger than that of gzip -6."""
ZSTD_LEVEL = 9
MAX_WINDOW_LOG = 31
"""The largest zstd window as a power of two (zstd.h, ``ZSTD_WINDOWLOG_MAX``): memory use is
bounded by `MultiStreamReader` instead."""
GZIP_BLOCK = 1 << 20
"""Bytes that one thread decompresses or compresses at a time."""
SIGNATURE_SIZE = 16
"""Bytes at the start of a file that identify its compression."""


class Writable(Protocol):
    """A stream that bytes can be written to."""

    def write(self, data: bytes, /) -> int:
        """Write all of ``data``."""


Compressor = Callable[[IO[bytes]], AbstractContextManager[Writable]]
"""Opens a stream that compresses into a file."""


class Compression(Struct, frozen=True):
    """One compression format.

    Attributes:
        suffix: the suffix of its files.
        signature: matches the first bytes of its files, and more of them than the magic number:
            an uncompressed tarball starts with its first member's name, such as ``BZhang``.
        reader: opens a path or file for decompression.
        writer: opens a stream that compresses into a file.
    """

    suffix: str
    signature: re.Pattern[bytes]
    reader: Callable[[str | IO[bytes]], IO[bytes]]
    writer: Compressor


def _read_gzip(path: str | IO[bytes]) -> IO[bytes]:
    from isal import igzip, igzip_threaded

    stream: object
    try:
        stream = igzip_threaded.open(path, "rb", threads=1, block_size=GZIP_BLOCK)
    except RuntimeError:
        # The limit of threads is reached; one thread is slower, but sufficient.
        stream = igzip.open(path, "rb")
    return cast(IO[bytes], stream)


def _write_gzip(file: IO[bytes]) -> IO[bytes]:
    from zlib_ng import gzip_ng_threaded

    # It writes one gzip member, and the same bytes for any number of threads.
    stream: object = gzip_ng_threaded.open(
        file, "wb", DEFLATE_LEVEL, threads=count_cores(), block_size=GZIP_BLOCK
    )
    return cast(IO[bytes], stream)


def import_zstd() -> Any:
    """Import the zstd module of the standard library (Python 3.14), or else its backport."""
    return importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )


def _read_zstd(path: str | IO[bytes]) -> IO[bytes]:
    zstd = import_zstd()

    def make_decompressor(memory: int | None) -> Decompressor:
        window_log = memory.bit_length() - 1 if memory else MAX_WINDOW_LOG
        options = {zstd.DecompressionParameter.window_log_max: window_log}
        return cast(Decompressor, zstd.ZstdDecompressor(options=options))

    return cast(IO[bytes], MultiStreamReader(path, StreamFormat(make_decompressor)))


def _write_zstd(file: IO[bytes]) -> IO[bytes]:
    parameters = import_zstd().CompressionParameter
    options = {
        parameters.compression_level: ZSTD_LEVEL,
        parameters.nb_workers: count_cores(),
        parameters.checksum_flag: 1,
    }
    return cast(IO[bytes], import_zstd().open(file, "wb", options=options))


def _read_xz(path: str | IO[bytes]) -> IO[bytes]:
    import lzma

    xz = StreamFormat(lambda memory: lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), padded=True)
    return cast(IO[bytes], MultiStreamReader(path, xz))


def _read_lzma(path: str | IO[bytes]) -> IO[bytes]:
    import lzma

    # LZMA Utils ignores all bytes after the first stream (xz(1), "Trailing garbage").
    legacy = StreamFormat(
        lambda memory: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memory), ignored=(lzma.LZMAError,)
    )
    return cast(IO[bytes], MultiStreamReader(path, legacy))


def _write_xz(file: IO[bytes]) -> XzWriter:
    from bundle_fix.archive.compression.xz_blocks import XzWriter

    return XzWriter(file)


def _write_lzma(file: IO[bytes]) -> IO[bytes]:
    import lzma

    return cast(IO[bytes], lzma.open(file, "wb", format=lzma.FORMAT_ALONE))


def _read_bzip2(path: str | IO[bytes]) -> IO[bytes]:
    import bz2

    # bzip2(1) warns about bytes after the last stream and ignores them.
    bzip2 = StreamFormat(lambda _memory: bz2.BZ2Decompressor(), ignored=(OSError,))
    return cast(IO[bytes], MultiStreamReader(path, bzip2))


def _write_bzip2(file: IO[bytes]) -> IO[bytes]:
    import bz2

    return cast(IO[bytes], bz2.open(file, "wb"))


COMPRESSIONS = (
    Compression(".gz", re.compile(rb"\x1f\x8b"), _read_gzip, _write_gzip),
    # A zstd file may start with a skippable frame (RFC 8878, 3.1.2): pzstd stores sizes in it.
    Compression(
        ".zst", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _read_zstd, _write_zstd
    ),
    Compression(".xz", re.compile(rb"\xfd7zXZ\x00"), _read_xz, _write_xz),
    # The format before xz has no magic number: properties, dictionary size (not 0), size.
    Compression(
        ".lzma",
        re.compile(rb"\x5d\x00\x00(?!\x00\x00)..(\xff{8}|.{5}\x00{3})", re.DOTALL),
        _read_lzma,
        _write_lzma,
    ),
    # After the level follow the digits of pi (a block), or of its square root (an empty file).
    Compression(".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), _read_bzip2, _write_bzip2),
)


def detect_compression(path: Path) -> Compression | None:
    """Detect the compression of a file by its first bytes; None if it is not compressed."""
    with path.open("rb") as file:
        start = file.read(SIGNATURE_SIZE)
    return next((c for c in COMPRESSIONS if c.signature.match(start)), None)


def get_compression(suffix: str) -> Compression | None:
    """Return the compression of files with ``suffix`` (``.gz``), or None."""
    return next((c for c in COMPRESSIONS if c.suffix == suffix), None)
