"""The parts of which a tarball of a tree consists: headers, contents and padding.

Members that are unchanged since they were read keep their bytes.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator

from bundle_fix.archive.tar.extensions import BLOCK
from bundle_fix.archive.tar.sparse import SparseHeader, drop_sparse_records
from bundle_fix.model.content import ArchiveSlice, BytesContent, Content, read_chunks
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import PatchedContent
from bundle_fix.model.tree import (
    Directory,
    File,
    Node,
    Special,
    Symlink,
    Tree,
    break_missing_hardlink,
)

RECORD = 20 * BLOCK
"""Bytes of a record: tar pads its archives to whole ones (POSIX pax, "-b blocksize")."""


def iter_tar_parts(tree: Tree) -> Iterator[tuple[str, Content]]:
    """Yield the parts of a tarball of ``tree`` in order, each with the path of its member.

    The path of the end of the archive is empty.
    """
    total = 0
    for path, node in tree.nodes.items():
        for part in _iter_member_parts(tree, path, node):
            total += part.size
            yield path, part
        if total % BLOCK:
            padding = BytesContent(bytes(-total % BLOCK))
            total += padding.size
            yield path, padding
    yield "", _build_trailer(tree, total)


def _build_trailer(tree: Tree, total: int) -> Content:
    """Return the end of an archive (POSIX ustar): two blocks of zeros, padded to a record.

    The bytes that were read are kept, unless they are only padding and members were added.
    """
    trailer = tree.trailer
    if trailer is None or (total != trailer.start and _is_padding(trailer)):
        return BytesContent(bytes(2 * BLOCK + -(total + 2 * BLOCK) % RECORD))
    return trailer


def _is_padding(trailer: ArchiveSlice) -> bool:
    """Return whether the end of an archive is zeros up to a whole record."""
    if (trailer.start + trailer.size) % RECORD:
        return False
    with trailer.open() as reader:
        return not any(chunk.strip(b"\0") for chunk in read_chunks(reader))


def _iter_member_parts(tree: Tree, path: str, node: Node) -> Iterator[Content]:
    if isinstance(node, File | Symlink):
        node = break_missing_hardlink(tree, node)
    if node.preceding is not None:
        yield node.preceding
    header, content = node.header, None
    if isinstance(node, File) and node.hardlink is None:
        header, content = _get_stored_form(node)
    yield header if header is not None else BytesContent(_encode_header(tree, path, node))
    if content is not None:
        yield content


def _get_stored_form(node: File) -> tuple[Content | None, Content]:
    """Return the header of a file, if it is still valid, and the bytes that the archive stores.

    A sparse file stays sparse unless an edit changes one of its holes.
    """
    header, content = node.header, node.content
    if not isinstance(header, SparseHeader):
        return header, content
    if content == header.content:
        return header, header.content.stored
    if isinstance(content, PatchedContent) and content.base == header.content:
        patches = header.content.map_patches(content.patches)
        if patches is not None:
            return header, PatchedContent(header.content.stored, patches)
    return None, content


def _encode_header(tree: Tree, path: str, node: Node) -> bytes:
    """Return a new header: ustar, preceded by a pax header for values that do not fit.

    Raises:
        BundleFixError: the node is a device, FIFO or socket without a header of its own.
    """
    metadata = node.metadata
    info = tarfile.TarInfo(_join_top(tree, path))
    info.mode, info.uid, info.gid = metadata.mode, metadata.uid, metadata.gid
    info.uname, info.gname = metadata.owner, metadata.group
    info.mtime = metadata.mtime
    # tarfile writes these three itself if they need a record.
    info.pax_headers = {
        name: value
        for name, value in drop_sparse_records(metadata.extra).items()
        if name not in ("mtime", "uid", "gid")
    }
    if metadata.mtime_text is not None:
        info.pax_headers["mtime"] = metadata.mtime_text
    if isinstance(node, Directory):
        info.type = tarfile.DIRTYPE
    elif isinstance(node, Symlink):
        info.type, info.linkname = tarfile.SYMTYPE, node.target
    elif isinstance(node, Special):
        raise BundleFixError(f"a {node.kind} cannot be changed", where=path)
    elif node.hardlink is not None:
        info.type, info.linkname = tarfile.LNKTYPE, _join_top(tree, node.hardlink)
    else:
        info.size = node.content.size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _join_top(tree: Tree, path: str) -> str:
    """Return the name of a member in the archive, below the tree's top directory."""
    return posixpath.join(tree.top, path) if path else tree.top or "."
