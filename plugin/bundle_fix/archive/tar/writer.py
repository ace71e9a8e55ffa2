"""Tarballs written and read back in one go, with nothing of them in memory or in another place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TypeVar, cast

from isal import isal_zlib

from bundle_fix.archive.compression.codecs import Compression, Writable
from bundle_fix.archive.limits import UNLIMITED
from bundle_fix.archive.read_back import ReadBack
from bundle_fix.archive.tar.concatenation import Concatenation
from bundle_fix.archive.tar.reader import tar_parts, tree_in_tar
from bundle_fix.model.content import read_chunks
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.subprocesses.forks import is_worth_forking, run_in_subprocess

T = TypeVar("T")


def write_tarball(
    tree: Tree,
    fd: int,
    compression: Compression | None,
    where: Path,
    judge: Callable[[Tree], T],
    progress: Progress = no_progress,
) -> T:
    """Write ``tree`` as a tarball into an empty file, read the tarball, and have it judged.

    What is on the disk is compared, by its CRC-32, with what was to be written: decompressed, where
    the compressor does not prove what it makes. Being the same, the latter is what the tree is read
    from; of a large one that is done, and judged, while it is written.

    Args:
        tree: what to write; its contents must stay open.
        fd: the file, open for both.
        compression: how; None for a plain tarball.
        where: the artifact's name, for messages.
        judge: is given the tree in the tarball, maybe in another process; see `run_in_subprocess`.
        progress: is told how many bytes are written.

    Returns:
        What ``judge`` made of it.

    Raises:
        BundleFixError: the disk does not give back what was written, or a file changed meanwhile.
        OSError: it cannot be written.
    """
    parts = list(tar_parts(tree))
    archive = Concatenation([part for _, part in parts])

    def judged() -> T:
        return judge(tree_in_tar(archive, where, archive.size, UNLIMITED))

    step, size, crc = ProgressStep(f"writing {where.name}", archive.size), 0, 0
    apart = is_worth_forking(archive.size)
    reader_of = compression.reader if compression and not compression.proven else None
    with (
        run_in_subprocess(judged) if apart else nullcontext(judged) as verdict,
        ReadBack(fd, reader_of, str(where)) as written,
    ):
        with _compressed(written, compression) as stream:
            for path, part in parts:
                with part.open() as reader:
                    for piece in read_chunks(reader, path):
                        if reader_of:
                            crc = isal_zlib.crc32(piece, crc)
                        size += len(piece)
                        stream.write(piece)
                        progress(step, size)
        written.compare(*((size, crc) if reader_of else written.sent))
        if apart:
            # How far it is over there is not known here.
            progress(ProgressStep("checking", archive.size), 0)
        return verdict()


def _compressed(
    file: ReadBack, compression: Compression | None
) -> AbstractContextManager[Writable]:
    return compression.writer(cast(IO[bytes], file)) if compression else nullcontext(file)
