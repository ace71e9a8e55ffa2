"""Streams that decompress and compress, by the libraries that do each fastest."""

from __future__ import annotations

import bz2
import importlib
import lzma
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

GZIP_LEVEL = 7
"""zlib-ng's level whose ratio is that of ``gzip -6``."""
ZSTD_LEVEL = 9
XZ_PRESET = 6
BLOCK = 1 << 20


Compressor = Callable[[IO[bytes]], AbstractContextManager[IO[bytes]]]
"""Wraps a file in the stream that compresses into it."""


@dataclass(frozen=True, slots=True)
class Compression:
    """One compression: the suffix of its tarballs, its magic bytes, how to open both ways."""

    suffix: str
    magic: bytes
    reader: Callable[[str], IO[bytes]]
    writer: Compressor


def _read_gzip(path: str) -> IO[bytes]:
    from isal import igzip_threaded

    opened: object = igzip_threaded.open(path, "rb", threads=1, block_size=BLOCK)
    return cast(IO[bytes], opened)


def _write_gzip(file: IO[bytes]) -> IO[bytes]:
    from zlib_ng import gzip_ng_threaded

    threads = os.cpu_count() or 1
    opened: object = gzip_ng_threaded.open(file, "wb", compresslevel=GZIP_LEVEL, threads=threads)
    return cast(IO[bytes], opened)


def _zstd() -> Any:
    """The zstd module: of the standard library since Python 3.14, before it from backports."""
    return importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )


def _read_zstd(path: str) -> IO[bytes]:
    return cast(IO[bytes], _zstd().open(path, "rb"))


def _write_zstd(file: IO[bytes]) -> IO[bytes]:
    parameters = _zstd().CompressionParameter
    options = {
        parameters.compression_level: ZSTD_LEVEL,
        parameters.nb_workers: os.cpu_count() or 1,
        parameters.checksum_flag: 1,
    }
    return cast(IO[bytes], _zstd().open(file, "wb", options=options))


def _read_xz(path: str) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(path, "rb"))


def _write_xz(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.open(file, "wb", preset=XZ_PRESET))


def _read_bzip2(path: str) -> IO[bytes]:
    return cast(IO[bytes], bz2.open(path, "rb"))


def _write_bzip2(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], bz2.open(file, "wb"))


COMPRESSIONS = (
    Compression(".gz", b"\x1f\x8b", _read_gzip, _write_gzip),
    Compression(".zst", b"\x28\xb5\x2f\xfd", _read_zstd, _write_zstd),
    Compression(".xz", b"\xfd7zXZ\x00", _read_xz, _write_xz),
    Compression(".bz2", b"BZh", _read_bzip2, _write_bzip2),
)


def compression_of(path: Path) -> Compression | None:
    """How the file at ``path`` is compressed, told by its first bytes; None when it is not."""
    with path.open("rb") as file:
        start = file.read(8)
    return next((c for c in COMPRESSIONS if start.startswith(c.magic)), None)


def compression_for(suffix: str) -> Compression | None:
    """The compression of tarballs that end in ``suffix`` (``.gz``), or None."""
    return next((c for c in COMPRESSIONS if c.suffix == suffix), None)
