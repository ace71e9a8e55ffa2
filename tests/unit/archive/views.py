"""Trees and directories as plain values that a test can compare."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from bundle_fix.model.content import Content, read_chunks
from bundle_fix.model.tree import Directory, File, Symlink, Tree


def list_names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


def read_data(content: Content) -> bytes:
    """Return all bytes of a content."""
    with content.open() as reader:
        return b"".join(read_chunks(reader))


def describe_tree(tree: Tree) -> dict[str, tuple[Any, ...]]:
    """Return kind, content, mode and time in whole seconds of each member."""
    members: dict[str, tuple[Any, ...]] = {}
    for path, node in tree.nodes.items():
        metadata = node.metadata
        if isinstance(node, File):
            members[path] = (
                "file",
                read_data(node.content),
                node.hardlink,
                metadata.mode,
                int(metadata.mtime),
            )
        elif isinstance(node, Symlink):
            members[path] = ("link", node.target)
        elif isinstance(node, Directory):
            members[path] = ("directory", metadata.mode, int(metadata.mtime))
        else:
            members[path] = ("special", node.kind)
    return members


def describe_directory(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return mode, owner, content, time and inode of each path; no times of directories."""
    members: dict[str, tuple[Any, ...]] = {}
    for parent, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(parent, name)
            status = path.lstat()
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = (path.read_bytes(), status.st_mtime_ns, status.st_ino)
            elif stat.S_ISLNK(status.st_mode):
                content = (str(path.readlink()), status.st_mtime_ns, status.st_ino)
            owner = (status.st_uid, status.st_gid)
            members[str(path.relative_to(root))] = (stat.filemode(status.st_mode), owner, content)
    return members
