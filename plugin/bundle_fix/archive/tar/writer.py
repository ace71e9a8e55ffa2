"""Writer of tarballs, which reads back what it wrote while it writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, cast

from isal import isal_zlib

from bundle_fix.archive.compression.codecs import Compression, Writable
from bundle_fix.archive.limits import UNLIMITED
from bundle_fix.archive.read_back import ReadBack
from bundle_fix.archive.tar.concatenation import Concatenation
from bundle_fix.archive.tar.reader import tar_parts, tree_in_tar
from bundle_fix.model.content import read_chunks
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.tree import Tree


def write_tarball(
    tree: Tree,
    fd: int,
    compression: Compression | None,
    where: Path,
    progress: Progress = no_progress,
) -> Tree:
    """Write ``tree`` as a tarball into an empty file, and read the tarball.

    The bytes on the disk are decompressed and compared with the intended ones by size and CRC-32.
    As they are the same, the tree is read from the latter.

    Args:
        tree: what to write; its contents must stay open.
        fd: the file, open for reading and writing.
        compression: the codec; None for a plain tarball.
        where: the artifact's name, for messages.
        progress: receives the number of written bytes.

    Returns:
        The tree of the tarball.

    Raises:
        BundleFixError: the disk does not return what was written, or a file changed meanwhile.
        OSError: it cannot be written.
    """
    parts = list(tar_parts(tree))
    archive = Concatenation([part for _, part in parts])
    step, size, crc = ProgressStep(f"writing {where.name}", archive.size), 0, 0
    with ReadBack(fd, compression.reader if compression else None, str(where)) as written:
        with _compressed(written, compression) as stream:
            for path, part in parts:
                with part.open() as reader:
                    for piece in read_chunks(reader, path):
                        crc = isal_zlib.crc32(piece, crc)
                        size += len(piece)
                        stream.write(piece)
                        progress(step, size)
        written.compare(size, crc)
    return tree_in_tar(archive, where, archive.size, UNLIMITED)


def _compressed(
    file: ReadBack, compression: Compression | None
) -> AbstractContextManager[Writable]:
    return compression.writer(cast(IO[bytes], file)) if compression else nullcontext(file)
