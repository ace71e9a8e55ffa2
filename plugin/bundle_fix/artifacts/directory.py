"""Folders as artifacts: read without leaving them, and written beside where they are to be."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from bundle_fix.artifacts.copying import copy_bytes
from bundle_fix.artifacts.limits import DEFAULT_LIMITS, Limits
from bundle_fix.content import path_content
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree, settled

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
    waiting = [(entry, path) for entry, path in _entries(root, "") if path != UPDATE]
    while waiting:
        entry, path = waiting.pop()
        try:
            nodes[path] = _node(entry, path, first_by_inode)
        except OSError as error:
            raise BundleFixError(f"cannot read it: {error.strerror}", where=entry.path) from error
        limits.check_members(len(nodes), root)
        if isinstance(nodes[path], Directory):
            waiting += _entries(Path(entry.path), f"{path}/")
    return Tree(nodes)


def _entries(folder: Path, prefix: str) -> list[tuple[os.DirEntry[str], str]]:
    """What is in ``folder``, with its path in the tree, the first one last."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda e: e.name, reverse=True)
    except OSError as error:
        raise BundleFixError(
            f"cannot read the folder: {error.strerror}", where=str(folder)
        ) from error
    return [(entry, f"{prefix}{entry.name}") for entry in entries]


def _node(entry: os.DirEntry[str], path: str, first_by_inode: dict[tuple[int, int], str]) -> Node:
    status = entry.stat(follow_symlinks=False)
    stamp = stamp_of(entry.path, status)
    if stat.S_ISLNK(status.st_mode):
        return Symlink(os.readlink(entry.path), stamp)  # noqa: PTH115 (Path would tidy the text)
    if stat.S_ISDIR(status.st_mode):
        return Directory(stamp)
    if not stat.S_ISREG(status.st_mode):
        return Special("device, fifo or socket", stamp)
    inode = (status.st_dev, status.st_ino)
    twin = first_by_inode.setdefault(inode, path) if status.st_nlink > 1 else path
    content = path_content(Path(entry.path), status)
    return File(content, stamp, twin=None if twin == path else twin)


def stamp_of(path: str, status: os.stat_result) -> Stamp:
    """The stamp of what is at ``path``, with its extended attributes; links are not followed."""
    extra = {"mtime": _decimal(status.st_mtime_ns)}
    for name in _attributes(path):
        with suppress(OSError):
            value = os.getxattr(path, name, follow_symlinks=False)
            extra[ATTRIBUTE + name] = os.fsdecode(value)
    mode, mtime = stat.S_IMODE(status.st_mode), float(extra["mtime"])
    return Stamp(mode, status.st_uid, status.st_gid, mtime=mtime, extra=extra)


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _decimal(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09}"


def write_directory(tree: Tree, root: Path) -> None:
    """Write ``tree`` into the existing, empty folder ``root``.

    Owners are kept where the user may set them; modes and times always.
    """
    for path in sorted(tree.folders):
        (root / path).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, node in tree.nodes.items():
        if isinstance(node, File):
            _write_file(root, path, settled(tree, node))
        elif isinstance(node, Symlink):
            (root / path).symlink_to(node.target)
            put_stamp(root / path, node.stamp, follow=False)
        elif isinstance(node, Special):
            raise BundleFixError(f"a {node.kind} cannot be copied", where=path)
    for path in sorted(tree.folders, reverse=True):
        folder = tree.nodes.get(path)
        if isinstance(folder, Directory):
            put_stamp(root / path, folder.stamp)
        else:
            (root / path).chmod(0o755)


def _write_file(root: Path, path: str, node: File) -> None:
    if node.twin is not None:
        (root / path).hardlink_to(root / node.twin)
        return
    write_content(node, root / path)


def write_content(node: File, target: Path) -> None:
    """Write one file's bytes, flushed to the disk, with its owner, mode and time."""
    with node.content.open() as reader, open(target, "xb", opener=_private) as file:
        copy_bytes(reader, file.fileno(), str(target))
        os.fsync(file.fileno())
    put_stamp(target, node.stamp)


def _private(path: str, flags: int) -> int:
    """Nobody else reads a file that has not got its mode yet."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def put_stamp(path: Path, stamp: Stamp, *, follow: bool = True) -> None:
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
