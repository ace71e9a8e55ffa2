"""Writer of tarballs, which reads back and compares the bytes while it writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, cast

from isal import isal_zlib
from msgspec.structs import replace

from bundle_fix.archive.compression.codecs import Compression, Writable
from bundle_fix.archive.limits import UNLIMITED
from bundle_fix.archive.read_back import ReadBack
from bundle_fix.archive.tar.concatenation import Concatenation
from bundle_fix.archive.tar.parts import iter_tar_parts
from bundle_fix.archive.tar.reader import parse_tar
from bundle_fix.model.content import ArchiveSlice, read_chunks
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.tree import File, Node, Tree


def write_tarball(
    tree: Tree,
    fd: int,
    compression: Compression | None,
    where: Path,
    progress: Progress = no_progress,
) -> Tree:
    """Write ``tree`` as a tarball into an empty file and return the tree of the tarball.

    The bytes on the disk are decompressed and compared with the intended ones by size and CRC-32.
    As they are equal, the returned tree is parsed from the intended bytes.

    Args:
        tree: the tree to write; its contents must stay open.
        fd: the file, open for reading and writing.
        compression: the codec; None for a plain tarball.
        where: the artifact's name, for messages.
        progress: receives the number of written bytes.

    Returns:
        The tree of the tarball.

    Raises:
        BundleFixError: the bytes on the disk differ from the written ones, or a file changed.
        OSError: the file cannot be written.
    """
    parts = list(iter_tar_parts(tree))
    archive = Concatenation([part for _, part in parts])
    step, size, crc = ProgressStep(f"writing {where.name}", archive.size), 0, 0
    with ReadBack(fd, compression.reader if compression else None, str(where)) as written:
        with _open_compressor(written, compression) as stream:
            for path, part in parts:
                with part.open() as reader:
                    for chunk in read_chunks(reader, path):
                        crc = isal_zlib.crc32(chunk, crc)
                        size += len(chunk)
                        stream.write(chunk)
                        progress(step, size)
        written.compare(size, crc)
    return _use_contents(parse_tar(archive, where, archive.size, UNLIMITED), archive)


def _use_contents(tree: Tree, archive: Concatenation) -> Tree:
    """Return the tree of ``archive`` with the contents of which the archive was made.

    They are read faster than slices of the archive, and what is known about them stays known.
    """
    nodes = {path: _use_content(node, archive) for path, node in tree.nodes.items()}
    return replace(tree, nodes=nodes)


def _use_content(node: Node, archive: Concatenation) -> Node:
    if not isinstance(node, File) or not isinstance(node.content, ArchiveSlice):
        return node
    content = archive.find_whole(node.content.start, node.content.size)
    return node if content is None else replace(node, content=content)


def _open_compressor(
    file: ReadBack, compression: Compression | None
) -> AbstractContextManager[Writable]:
    return compression.writer(cast(IO[bytes], file)) if compression else nullcontext(file)
