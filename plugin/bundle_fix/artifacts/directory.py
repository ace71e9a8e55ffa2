"""Folders as artifacts: read without leaving them, and written beside where they are to be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.content import PathContent, chunks
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree


def read_directory(root: Path) -> Tree:
    """The tree under ``root``; links are members, never followed.

    Raises:
        BundleFixError: a folder in it cannot be read.
    """
    nodes: dict[str, Node] = {}
    first_by_inode: dict[tuple[int, int], str] = {}
    for entry, path in _entries(root, ""):
        status = entry.stat(follow_symlinks=False)
        stamp = Stamp(
            stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, mtime=status.st_mtime
        )
        if entry.is_symlink():
            nodes[path] = Symlink(os.readlink(entry.path), stamp)  # noqa: PTH115 (Path would tidy the text)
        elif entry.is_dir(follow_symlinks=False):
            nodes[path] = Directory(stamp)
        elif entry.is_file(follow_symlinks=False):
            inode = (status.st_dev, status.st_ino)
            twin = first_by_inode.setdefault(inode, path) if status.st_nlink > 1 else path
            content = PathContent(Path(entry.path), status.st_size)
            nodes[path] = File(content, stamp, twin=None if twin == path else twin)
        else:
            nodes[path] = Special("device, fifo or socket", stamp)
    return Tree(nodes)


def _entries(folder: Path, prefix: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda e: e.name)
    except OSError as error:
        raise BundleFixError(
            f"cannot read the folder: {error.strerror}", where=str(folder)
        ) from error
    for entry in entries:
        path = f"{prefix}{entry.name}"
        yield entry, path
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), f"{path}/")


def write_directory(tree: Tree, root: Path) -> None:
    """Write ``tree`` into the existing, empty folder ``root``.

    Owners are kept where the user may set them; modes and times always.
    """
    for path in sorted(tree.folders):
        (root / path).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, node in tree.nodes.items():
        if isinstance(node, File):
            _write_file(root, path, node)
        elif isinstance(node, Symlink):
            (root / path).symlink_to(node.target)
            _stamp(root / path, node.stamp, follow=False)
        elif isinstance(node, Special):
            raise BundleFixError(f"a {node.kind} cannot be copied", where=path)
    for path in sorted(tree.folders, reverse=True):
        folder = tree.nodes.get(path)
        if isinstance(folder, Directory):
            _stamp(root / path, folder.stamp)
        elif path:
            (root / path).chmod(0o755)


def _write_file(root: Path, path: str, node: File) -> None:
    if node.twin is not None:
        (root / path).hardlink_to(root / node.twin)
        return
    write_content(node, root / path)


def write_content(node: File, target: Path) -> None:
    """Write one file's bytes, flushed to the disk, with its owner, mode and time."""
    with node.content.open() as reader, target.open("xb") as file:
        for piece in chunks(reader):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    _stamp(target, node.stamp)


def _stamp(path: Path, stamp: Stamp, *, follow: bool = True) -> None:
    if os.geteuid() == 0:
        os.chown(path, stamp.uid, stamp.gid, follow_symlinks=False)
    if follow:
        path.chmod(stamp.mode)
    os.utime(path, (stamp.mtime, stamp.mtime), follow_symlinks=False)
