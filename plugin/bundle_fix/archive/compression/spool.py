"""Decompress a file into an unnamed temporary file, within limits on its size."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from bundle_fix.archive.compression.codecs import Compression, detect_compression
from bundle_fix.archive.compression.multistream import StreamError
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import AGAIN, BundleFixError, build_os_error
from bundle_fix.model.progress import Progress, ProgressStep, StepProgress, no_progress

GZIP_NOT_A_MEMBER = "Not a gzipped file"
"""Start of the text of gzip.BadGzipFile for bytes that are not a member; it has no error code."""


class TruncatedStreamError(BundleFixError):
    """A compressed file ends before its data does."""


@contextmanager
def decompress_file(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress, name: str = ""
) -> Iterator[IO[bytes]]:
    """Open the file at ``path``; if it is compressed, decompress it into a temporary file first.

    Args:
        path: the file.
        limits: the limits for its decompressed bytes.
        progress: receives the number of compressed bytes that are read.
        name: the name for the progress step, if not that of the file.

    Raises:
        BundleFixError: it is damaged, exceeds ``limits``, or the disk is full.
    """
    compression = detect_compression(path)
    stream: IO[bytes]
    if compression is None:
        stream = path.open("rb")
    else:
        step = ProgressStep(f"reading {name or path.name}", path.stat().st_size)
        stream = _spool_file(path, compression, limits, partial(progress, step))
    with stream as file:
        yield file


def _spool_file(
    path: Path, compression: Compression, limits: Limits, report: StepProgress
) -> IO[bytes]:
    """Return a temporary file with the decompressed bytes, positioned at its start."""
    import tempfile

    spool: IO[bytes] | None = None
    try:
        spool = tempfile.TemporaryFile(prefix="bundle-fix-")  # noqa: SIM115 (the caller closes it)
        _decompress_into(spool, path, compression, limits, report)
        spool.seek(0)
    except BaseException as error:
        if spool is not None:
            # On a full disk close() fails again: it tries to write the rest of the buffer.
            with suppress(OSError):
                spool.close()
        if isinstance(error, OSError):
            problem = f"cannot decompress it into {_describe_directory()}"
            hint = "set TMPDIR to another directory"
            raise build_os_error(problem, error, where=str(path), hint=hint) from error
        raise
    return spool


def _describe_directory() -> str:
    """Return the path of the directory for temporary files, or a general term."""
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:
        return "a temporary directory"


def _decompress_into(
    spool: IO[bytes], path: Path, compression: Compression, limits: Limits, report: StepProgress
) -> None:
    total, allocated, packed_size = 0, 0, path.stat().st_size
    with path.open("rb") as file, closing(decompress_chunks(file, path, compression)) as chunks:
        for chunk in chunks:
            total += len(chunk)
            allocated += write_sparse(spool, chunk)
            limits.check_size(total, packed_size, path, allocated)
            # The reader may use `file` in a thread of its own, so its tell() is not safe here.
            report(os.lseek(file.fileno(), 0, os.SEEK_CUR))
    spool.truncate()


def write_sparse(spool: IO[bytes], chunk: bytes) -> int:
    """Write ``chunk``, or seek over it if it is zeros; return the number of written bytes.

    The caller truncates the file at its end. A bomb of zeros takes no disk space this way.
    """
    if chunk == bytes(len(chunk)):
        spool.seek(len(chunk), io.SEEK_CUR)
        return 0
    return spool.write(chunk)


def decompress_chunks(
    file: IO[bytes], path: Path, compression: Compression
) -> Generator[bytes, None, None]:
    """Yield the decompressed bytes of an open file, at most `CHUNK` at a time.

    Raises:
        TruncatedStreamError: the file ends early; all bytes up to there have been yielded.
        BundleFixError: the file is damaged.
    """
    done = 0
    try:
        with compression.reader(file) as stream:
            while chunk := stream.read(CHUNK):
                done += len(chunk)
                yield chunk
    except EOFError as error:
        raise TruncatedStreamError(
            "the archive is truncated", where=str(path), hint=AGAIN
        ) from error
    except MemoryError:
        raise
    except StreamError as error:
        raise BundleFixError(
            str(error), where=str(path),
            hint="compress it as one stream with a smaller window (zstd --long=27, xz -9)",
        ) from error  # fmt: skip
    except Exception as error:
        import gzip

        if isinstance(error, OSError) and error.errno is not None:
            raise build_os_error("cannot read it", error, where=str(path)) from error
        if "not enough memory" in str(error):
            # zstd has no type of its own for it (ZSTD_error_memory_allocation).
            raise MemoryError from error
        if isinstance(error, gzip.BadGzipFile) and str(error).startswith(GZIP_NOT_A_MEMBER):
            yield from _decompress_rest_of_gzip(path, done)
            return
        # Each library has its own error types (zlib.error, LZMAError, ZstdError, IsalError).
        raise _build_decompression_error(error, path) from error


def _build_decompression_error(error: Exception, path: Path) -> BundleFixError:
    return BundleFixError(f"the archive is damaged: {error}", where=str(path), hint=AGAIN)


def _decompress_rest_of_gzip(path: Path, done: int) -> Iterator[bytes]:
    """Yield the bytes after the first ``done`` ones of a gzip file with garbage at its end.

    The fast reader fails on the garbage, and then loses the bytes that it has read ahead.
    """
    from bundle_fix.archive.compression.gzip_members import read_gzip_members

    try:
        for chunk in read_gzip_members(path):
            yield chunk[done:]
            done = max(done - len(chunk), 0)
    except (EOFError, zlib.error) as error:
        raise _build_decompression_error(error, path) from error
