"""Streams that decompress and compress, by the libraries that do each fastest."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from msgspec import Struct

from bundle_fix.archive.compression.multistream import (
    Decompressor,
    MultiStreamReader,
    StreamError,
    StreamFormat,
)
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, StepProgress, no_progress
from bundle_fix.subprocesses.processors import count_cores

if TYPE_CHECKING:
    from bundle_fix.archive.compression.xz_blocks import XzWriter

DEFLATE_LEVEL = 6
"""Level of zlib-ng for gzip and zip: its output is 3% larger than that of gzip -6."""
ZSTD_LEVEL = 9
WINDOW = 31
"""The largest window of zstd that is read, as a power of two: all that there are."""
BLOCK = 1 << 20
NO_MEMBER = "Not a gzipped file"
"""What the gzip readers say of bytes that start no member."""


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``."""


Compressor = Callable[[IO[bytes]], AbstractContextManager[Writable]]
"""Wraps a file in the stream that compresses into it."""


class Compression(Struct, frozen=True):
    """One compression: the suffix of its tarballs, how they start, how to open both ways.

    ``start`` is a pattern: a tarball that is not compressed starts with its first member's name,
    which may well be ``BZhang``.
    """

    suffix: str
    start: re.Pattern[bytes]
    reader: Callable[[str | IO[bytes]], IO[bytes]]
    writer: Compressor


def _read_gzip(path: str | IO[bytes]) -> IO[bytes]:
    from isal import igzip_threaded

    opened: object = igzip_threaded.open(path, "rb", threads=1, block_size=BLOCK)
    return cast(IO[bytes], opened)


def _write_gzip(file: IO[bytes]) -> IO[bytes]:
    from zlib_ng import gzip_ng_threaded

    # One member, and the same bytes for any number of threads.
    opened: object = gzip_ng_threaded.open(
        file, "wb", DEFLATE_LEVEL, threads=count_cores(), block_size=BLOCK
    )
    return cast(IO[bytes], opened)


def import_zstd() -> Any:
    """The zstd module: of the standard library since Python 3.14, before it from backports."""
    return importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )


def _read_zstd(path: str | IO[bytes]) -> IO[bytes]:
    key, make = import_zstd().DecompressionParameter.window_log_max, import_zstd().ZstdDecompressor

    def begin(memory: int | None) -> Decompressor:
        options = {key: memory.bit_length() - 1 if memory else WINDOW}
        return cast(Decompressor, make(options=options))

    return cast(IO[bytes], MultiStreamReader(path, StreamFormat(begin)))


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

    form = StreamFormat(lambda memory: lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), padded=True)
    return cast(IO[bytes], MultiStreamReader(path, form))


def _read_lzma(path: str | IO[bytes]) -> IO[bytes]:
    import lzma

    form = StreamFormat(
        lambda memory: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memory), ignored=(lzma.LZMAError,)
    )
    return cast(IO[bytes], MultiStreamReader(path, form))


def _write_xz(file: IO[bytes]) -> XzWriter:
    from bundle_fix.archive.compression.xz_blocks import XzWriter

    return XzWriter(file)


def _write_lzma(file: IO[bytes]) -> IO[bytes]:
    import lzma

    return cast(IO[bytes], lzma.open(file, "wb", format=lzma.FORMAT_ALONE))


def _read_bzip2(path: str | IO[bytes]) -> IO[bytes]:
    import bz2

    form = StreamFormat(lambda _memory: bz2.BZ2Decompressor(), ignored=(OSError,))
    return cast(IO[bytes], MultiStreamReader(path, form))


def _write_bzip2(file: IO[bytes]) -> IO[bytes]:
    import bz2

    return cast(IO[bytes], bz2.open(file, "wb"))


COMPRESSIONS = (
    Compression(".gz", re.compile(rb"\x1f\x8b"), _read_gzip, _write_gzip),
    # A zstd file may start with a frame to be skipped: pzstd keeps sizes in it.
    Compression(
        ".zst", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), _read_zstd, _write_zstd
    ),
    Compression(".xz", re.compile(rb"\xfd7zXZ\x00"), _read_xz, _write_xz),
    # What xz was before: it starts with its parameters, of which the dictionary's size is not 0.
    Compression(
        ".lzma",
        re.compile(rb"\x5d\x00\x00(?!\x00\x00)..(\xff{8}|.{5}\x00{3})", re.DOTALL),
        _read_lzma,
        _write_lzma,
    ),
    # What follows the level: pi before the first block, the root of pi where there is none.
    Compression(".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), _read_bzip2, _write_bzip2),
)


def detect_compression(path: Path) -> Compression | None:
    """How the file at ``path`` is compressed, told by its first bytes; None when it is not."""
    with path.open("rb") as file:
        start = file.read(16)
    return next((c for c in COMPRESSIONS if c.start.match(start)), None)


def get_compression(suffix: str) -> Compression | None:
    """The compression of tarballs that end in ``suffix`` (``.gz``), or None."""
    return next((c for c in COMPRESSIONS if c.suffix == suffix), None)


@contextmanager
def decompress_file(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress, name: str = ""
) -> Iterator[IO[bytes]]:
    """The file at ``path``, decompressed into an unnamed temporary file where it is compressed.

    Args:
        path: where it is.
        limits: how much may be in it.
        progress: is told how much of it is unpacked.
        name: what it is called there, where that is not its own name.

    Raises:
        BundleFixError: it is damaged, unpacks to more than ``limits`` allow, or there is no space
            for what is in it.
    """
    compression = detect_compression(path)
    opened: IO[bytes]
    if compression is None:
        opened = path.open("rb")
    else:
        step = ProgressStep(f"reading {name or path.name}", path.stat().st_size)
        opened = _spooled(path, compression, limits, partial(progress, step))
    with opened as file:
        yield file


def _spooled(path: Path, compression: Compression, limits: Limits, tell: StepProgress) -> IO[bytes]:
    import tempfile

    spool: IO[bytes] | None = None
    try:
        spool = tempfile.TemporaryFile(prefix="bundle-fix-")  # noqa: SIM115 (the caller closes it)
        _decompress(path, compression, spool, limits, tell)
        spool.seek(0)
    except BaseException as error:
        if spool is not None:
            # On a full disk closing tries once more to write what is left.
            with suppress(OSError):
                spool.close()
        if isinstance(error, OSError):
            raise BundleFixError(
                f"cannot unpack it into {_temporary_folder()}: {error.strerror or error}",
                where=str(path),
                hint="TMPDIR names another folder",
            ) from error
        raise
    return spool


def _temporary_folder() -> str:
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:
        return "a temporary folder"


def _decompress(
    path: Path, compression: Compression, spool: IO[bytes], limits: Limits, tell: StepProgress
) -> None:
    total, full, packed = 0, 0, path.stat().st_size
    with path.open("rb") as file, closing(_pieces(file, path, compression)) as pieces:
        for piece in pieces:
            total += len(piece)
            full += write_sparse(spool, piece)
            limits.check_size(total, packed, path, full)
            # The reader may be ahead in a thread of its own, whose place `file` must not be asked.
            tell(os.lseek(file.fileno(), 0, os.SEEK_CUR))
    spool.truncate()


def write_sparse(spool: IO[bytes], piece: bytes) -> int:
    """Write ``piece`` to a temporary file that is cut where it ends; returns the bytes it took.

    A hole takes none: not even a bomb of zeros, up to where it is refused.
    """
    if piece == bytes(len(piece)):
        spool.seek(len(piece), io.SEEK_CUR)
        return 0
    return spool.write(piece)


def _pieces(file: IO[bytes], path: Path, compression: Compression) -> Generator[bytes, None, None]:
    done = 0
    try:
        with compression.reader(file) as stream:
            while piece := stream.read(CHUNK):
                done += len(piece)
                yield piece
    except EOFError as error:
        raise BundleFixError("the archive is cut short", where=str(path), hint=AGAIN) from error
    except MemoryError:
        raise
    except StreamError as error:
        raise BundleFixError(
            str(error), where=str(path),
            hint="compress it as a whole, with a smaller window (zstd --long=27, xz -9)",
        ) from error  # fmt: skip
    except Exception as error:
        import gzip

        if isinstance(error, gzip.BadGzipFile) and str(error).startswith(NO_MEMBER):
            yield from _rest_of_gzip(path, done)
            return
        # Every library has error types of its own (zlib.error, LZMAError, ZstdError, IsalError).
        raise _damaged(error, path) from error


def _damaged(error: Exception, path: Path) -> BundleFixError:
    return BundleFixError(f"the archive is damaged: {error}", where=str(path), hint=AGAIN)


def _rest_of_gzip(path: Path, done: int) -> Iterator[bytes]:
    """What follows the first ``done`` bytes in the members of a gzip file with more behind them."""
    from bundle_fix.archive.compression.gzip_members import read_gzip_members

    try:
        for piece in read_gzip_members(path):
            yield piece[done:]
            done = max(done - len(piece), 0)
    except (EOFError, zlib.error) as error:
        raise _damaged(error, path) from error
