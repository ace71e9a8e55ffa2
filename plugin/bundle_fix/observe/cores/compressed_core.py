"""Core files as systemd-coredump stores them: compressed with zstd, lz4 or xz.

They are decompressed into a temporary file with holes for zeros, as most of a core file is zeros.
lz4 has no module in Python's standard library, and few machines have such core files: the program
``lz4`` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from bundle_fix.archive.compression.codecs import detect_compression
from bundle_fix.archive.compression.spool import (
    TruncatedStreamError,
    decompress_chunks,
    write_sparse,
)
from bundle_fix.archive.limits import Limits
from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.model.progress import Progress, ProgressStep, StepProgress

LZ4_MAGIC = b"\x04\x22\x4d\x18"
"""The magic number of lz4 frames (lz4_Frame_format.md)."""


@contextmanager
def open_decompressed(
    path: Path, limits: Limits, progress: Progress
) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a core file, decompressed; also return whether its compressed data ends early.

    Args:
        path: the core file.
        limits: only the limit of the size counts: memory of zeros compresses without limit.
        progress: receives the number of compressed bytes that are read.

    Raises:
        BundleFixError: it cannot be read, is damaged, or exceeds ``limits``.
    """
    import tempfile

    try:
        file = path.open("rb")
    except OSError as error:
        raise build_os_error("cannot read it", error, where=str(path)) from error
    with file:
        chunks = _open_chunks(file, path)
        if chunks is None:
            yield file, False
            return
        step = ProgressStep(f"reading {path.name}", path.stat().st_size)
        with tempfile.TemporaryFile(prefix="bundle-fix-") as spool:
            is_complete = _write_chunks(chunks, spool, path, limits, file, partial(progress, step))
            yield spool, not is_complete


def _open_chunks(file: IO[bytes], path: Path) -> Iterator[bytes] | None:
    """Return the decompressed bytes of a core file; None if it is not compressed."""
    try:
        if os.pread(file.fileno(), 4, 0) == LZ4_MAGIC:
            return _run_lz4(file, path)
        compression = detect_compression(path)
    except OSError as error:
        raise build_os_error("cannot read it", error, where=str(path)) from error
    return None if compression is None else decompress_chunks(file, path, compression)


def _write_chunks(
    chunks: Iterator[bytes],
    spool: IO[bytes],
    path: Path,
    limits: Limits,
    file: IO[bytes],
    report: StepProgress,
) -> bool:
    """Write the decompressed bytes to ``spool``; return whether they are complete."""
    total, limits = 0, replace(limits, max_ratio=None)
    is_complete = True
    try:
        for chunk in chunks:
            total += len(chunk)
            write_sparse(spool, chunk)
            limits.check_size(total, 0, path)
            report(os.lseek(file.fileno(), 0, os.SEEK_CUR))
    except TruncatedStreamError:
        is_complete = False
    except OSError as error:
        raise build_os_error(
            "cannot decompress it", error, where=str(path), hint="set TMPDIR to another directory"
        ) from error
    spool.truncate()
    spool.flush()
    return is_complete


def _run_lz4(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Yield what the program ``lz4`` makes of a file."""
    import subprocess

    try:
        process = subprocess.Popen(
            ["lz4", "-dcq"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise BundleFixError(
            "the core file is compressed with lz4, but there is no program lz4",
            where=str(path), hint="install lz4, or decompress the file",
        ) from error  # fmt: skip
    with process, closing(process.stdout or file) as output:
        try:
            while chunk := output.read(CHUNK):
                yield chunk
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise TruncatedStreamError("the core file is truncated or damaged", where=str(path))
