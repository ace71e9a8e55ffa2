"""Trees and folders as plain values that a test can compare."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from bundle_fix.model.content import Content, read_chunks
from bundle_fix.model.tree import Directory, File, Symlink, Tree


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def data(content: Content) -> bytes:
    with content.open() as reader:
        return b"".join(read_chunks(reader))


def view(tree: Tree) -> dict[str, tuple[Any, ...]]:
    """Of each member its kind, what it holds, its mode and its time in whole seconds."""
    seen: dict[str, tuple[Any, ...]] = {}
    for path, node in tree.nodes.items():
        stamp = node.metadata
        if isinstance(node, File):
            seen[path] = ("file", data(node.content), node.hardlink, stamp.mode, int(stamp.mtime))
        elif isinstance(node, Symlink):
            seen[path] = ("link", node.target)
        elif isinstance(node, Directory):
            seen[path] = ("folder", stamp.mode, int(stamp.mtime))
        else:
            seen[path] = ("special", node.kind)
    return seen


def snapshot(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything under ``root`` as the kernel tells it, but for the times of folders."""
    seen: dict[str, tuple[Any, ...]] = {}
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(parent, name)
            status = path.lstat()
            held: Any = None
            if stat.S_ISREG(status.st_mode):
                held = (path.read_bytes(), status.st_mtime_ns, status.st_ino)
            elif stat.S_ISLNK(status.st_mode):
                held = (str(path.readlink()), status.st_mtime_ns, status.st_ino)
            owner = (status.st_uid, status.st_gid)
            seen[str(path.relative_to(root))] = (stat.filemode(status.st_mode), owner, held)
    return seen
