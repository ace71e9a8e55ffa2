"""Tarballs written and read back in one go, with nothing of them in memory or in another place."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, cast

from isal import isal_zlib

from bundle_fix.artifacts.compression import Compression, Writable
from bundle_fix.artifacts.concatenation import Concatenation
from bundle_fix.artifacts.limits import UNLIMITED
from bundle_fix.artifacts.read_back import ReadBack
from bundle_fix.artifacts.tar import tar_parts, tree_in_tar
from bundle_fix.content import chunks
from bundle_fix.progress import Progress, Step, unheard
from bundle_fix.tree import Tree


def write_tarball(
    tree: Tree,
    fd: int,
    compression: Compression | None,
    where: Path,
    progress: Progress = unheard,
) -> Tree:
    """Write ``tree`` as a tarball into an empty file, and read the tarball.

    What is on the disk is decompressed and compared, by its CRC-32, with what was to be written;
    being the same, that is what the tree is read from.

    Args:
        tree: what to write; its contents must stay open.
        fd: the file, open for both.
        compression: how; None for a plain tarball.
        where: the artifact's name, for messages.
        progress: is told how many bytes are written.

    Returns:
        The tree in the tarball.

    Raises:
        BundleFixError: the disk does not give back what was written, or a file changed meanwhile.
        OSError: it cannot be written.
    """
    parts = list(tar_parts(tree))
    step = Step(f"writing {where.name}", sum(part.size for _, part in parts))
    size = crc = 0
    with ReadBack(fd, compression.reader if compression else None, str(where)) as written:
        with _compressed(written, compression) as stream:
            for path, part in parts:
                with part.open() as reader:
                    for piece in chunks(reader, path):
                        crc = isal_zlib.crc32(piece, crc)
                        size += len(piece)
                        stream.write(piece)
                        progress(step, size)
        written.compare(size, crc)
    archive = Concatenation([part for _, part in parts])
    return tree_in_tar(archive, where, os.fstat(fd).st_size, UNLIMITED)


def _compressed(
    file: ReadBack, compression: Compression | None
) -> AbstractContextManager[Writable]:
    return compression.writer(cast(IO[bytes], file)) if compression else nullcontext(file)
