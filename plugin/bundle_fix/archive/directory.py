"""Folders as artifacts: read without leaving them, and written beside where they are to be."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.model.content import make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import StepProgress, no_step_progress, track_parts
from bundle_fix.model.tree import (
    Directory,
    File,
    Metadata,
    Node,
    Special,
    Symlink,
    Tree,
    break_missing_hardlink,
)
from bundle_fix.storage.copy import copy_bytes

ATTRIBUTE = "SCHILY.xattr."
"""What precedes the name of an extended attribute in a pax record."""
UPDATE = ".bundle-fix-update"
"""The folder in which what is new waits while a folder is changed in place; no member of it."""


def read_directory(root: Path, limits: Limits = DEFAULT_LIMITS) -> Tree:
    """The tree under ``root``; links are members, never followed.

    Raises:
        BundleFixError: a folder in it cannot be read, or it has more members than ``limits`` allow.
    """
    nodes: dict[str, Node] = {}
    first_by_inode: dict[tuple[int, int], str] = {}
    waiting = [found for found in _entries(root, "", None) if found.path != UPDATE]
    while waiting:
        found = waiting.pop()
        nodes[found.path] = _node(root, found, first_by_inode)
        limits.check_members(len(nodes), root)
        if isinstance(nodes[found.path], Directory):
            waiting += _entries(root, found.path, found.identity)
    return Tree(nodes)


class _Found(NamedTuple):
    """What is in a folder, as it was when the folder was read."""

    path: str
    status: os.stat_result
    target: str
    stamp: Metadata

    @property
    def identity(self) -> tuple[int, int]:
        """Which file or folder it is, whatever comes to be at its path."""
        return self.status.st_dev, self.status.st_ino


def _entries(root: Path, path: str, identity: tuple[int, int] | None) -> list[_Found]:
    """What is in the folder at ``path``, the first one last.

    Args:
        root: the folder that the artifact is.
        path: relative to it.
        identity: which folder it must be; a link that took its place leads to another one.
    """
    folder = root / path if path else root
    follow = os.O_NOFOLLOW if path else 0
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow)
        try:
            status = os.fstat(fd)
            if identity not in (None, (status.st_dev, status.st_ino)):
                raise BundleFixError(
                    "the directory changed while it was read", where=str(folder), hint="run again"
                )
            with os.scandir(fd) as found:
                entries = sorted(found, key=lambda e: e.name, reverse=True)
            return [_found(fd, entry, folder, f"{path}/" if path else "") for entry in entries]
        finally:
            os.close(fd)
    except OSError as error:
        raise BundleFixError(
            f"cannot read the directory: {error.strerror}", where=str(folder)
        ) from error


def _found(fd: int, entry: os.DirEntry[str], folder: Path, prefix: str) -> _Found:
    try:
        status = entry.stat(follow_symlinks=False)
        link = stat.S_ISLNK(status.st_mode)
        target = os.readlink(entry.name, dir_fd=fd) if link else ""
    except OSError as error:
        place = str(folder / entry.name)
        raise BundleFixError(f"cannot read it: {error.strerror}", where=place) from error
    stamp = read_metadata(f"/proc/self/fd/{fd}/{entry.name}", status)
    return _Found(f"{prefix}{entry.name}", status, target, stamp)


def _node(root: Path, found: _Found, first_by_inode: dict[tuple[int, int], str]) -> Node:
    status, path, stamp = found.status, found.path, found.stamp
    if stat.S_ISLNK(status.st_mode):
        return Symlink(found.target, stamp)
    if stat.S_ISDIR(status.st_mode):
        return Directory(stamp)
    if not stat.S_ISREG(status.st_mode):
        return Special("device, fifo or socket", stamp)
    twin = first_by_inode.setdefault(found.identity, path) if status.st_nlink > 1 else path
    content = make_path_content(root / path, status)
    return File(content, stamp, hardlink=None if twin == path else twin)


def read_metadata(path: str, status: os.stat_result) -> Metadata:
    """The stamp of what is at ``path``, with its extended attributes; links are not followed."""
    extra = {"mtime": _decimal(status.st_mtime_ns)}
    for name in _attributes(path):
        with suppress(OSError):
            value = os.getxattr(path, name, follow_symlinks=False)
            extra[ATTRIBUTE + name] = os.fsdecode(value)
    mode, mtime = stat.S_IMODE(status.st_mode), float(extra["mtime"])
    return Metadata(mode, status.st_uid, status.st_gid, mtime=mtime, extra=extra)


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _decimal(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09}"


def write_directory(tree: Tree, root: Path, tell: StepProgress = no_step_progress) -> None:
    """Write ``tree`` into the existing, empty folder ``root``; ``tell`` counts its nodes.

    Owners are kept where the user may set them; modes and times always.
    """
    for path in sorted(tree.directories):
        (root / path).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, node in track_parts(tree.nodes.items(), tell):
        if isinstance(node, File):
            _write_file(root, path, break_missing_hardlink(tree, node))
        elif isinstance(node, Symlink):
            (root / path).symlink_to(node.target)
            apply_metadata(root / path, node.metadata, follow=False)
        elif isinstance(node, Special):
            raise BundleFixError(f"a {node.kind} cannot be copied", where=path)
    for path in sorted(tree.directories, reverse=True):
        folder = tree.nodes.get(path)
        if isinstance(folder, Directory):
            apply_metadata(root / path, folder.metadata)
        else:
            (root / path).chmod(0o755)


def _write_file(root: Path, path: str, node: File) -> None:
    if node.hardlink is not None:
        (root / path).hardlink_to(root / node.hardlink)
        return
    write_content(node, root / path)


def write_content(node: File, target: Path) -> None:
    """Write one file's bytes, flushed to the disk, with its owner, mode and time."""
    with node.content.open() as reader, open(target, "xb", opener=_private) as file:
        copy_bytes(reader, file.fileno(), str(target))
        os.fsync(file.fileno())
    apply_metadata(target, node.metadata)


def _private(path: str, flags: int) -> int:
    """Nobody else reads a file that has not got its mode yet."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def apply_metadata(path: Path, stamp: Metadata, *, follow: bool = True) -> None:
    """Give what is at ``path`` its owner, where the user may set it, its mode and its time."""
    if os.geteuid() == 0:
        # In a user namespace root may not give files to everybody.
        with suppress(OSError):
            os.chown(path, stamp.uid, stamp.gid, follow_symlinks=False)
    if follow:
        path.chmod(stamp.mode)
    # Behind owner and mode: to change those drops capabilities.
    for name, value in stamp.extra.items():
        if name.startswith(ATTRIBUTE):
            with suppress(OSError):
                attribute = name.removeprefix(ATTRIBUTE)
                os.setxattr(path, attribute, os.fsencode(value), follow_symlinks=False)
    if stamp.mtime_text is None:
        os.utime(path, (stamp.mtime, stamp.mtime), follow_symlinks=False)
    else:
        seconds, _, rest = stamp.mtime_text.partition(".")
        nanoseconds = int(seconds + rest.ljust(9, "0")[:9])
        os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
