"""Directories as artifacts: read without following symlinks, written with modes and times."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.model.content import make_path_content
from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.model.progress import StepProgress, no_step_progress, track_parts
from bundle_fix.model.tree import (
    ATTRIBUTE_PREFIX,
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

"""Prefix of the name of an extended attribute in a pax record (star(5))."""
UPDATE_DIRECTORY = ".bundle-fix-update"
"""Staging directory below the root of a directory that is changed in place; not a member of it."""


def read_directory(root: Path, limits: Limits = DEFAULT_LIMITS) -> Tree:
    """Return the tree below ``root``; symlinks are members and are not followed.

    Raises:
        BundleFixError: a directory cannot be read, or there are more members than ``limits`` allow.
    """
    nodes: dict[str, Node] = {}
    first_by_inode: dict[tuple[int, int], str] = {}
    # A stack instead of recursion: directories may be deeper than Python's recursion limit.
    stack = [entry for entry in _list_directory(root, "", None) if entry.path != UPDATE_DIRECTORY]
    while stack:
        entry = stack.pop()
        nodes[entry.path] = _create_node(root, entry, first_by_inode)
        limits.check_members(len(nodes), root)
        if isinstance(nodes[entry.path], Directory):
            stack += _list_directory(root, entry.path, entry.identity)
    return Tree(nodes)


class _DirectoryEntry(NamedTuple):
    """An entry of a directory at the time when the directory was read.

    Attributes:
        path: relative to the root of the artifact.
        status: the result of lstat(2).
        target: the target of a symlink, otherwise empty.
        metadata: its mode, owner, time and extended attributes.
    """

    path: str
    status: os.stat_result
    target: str
    metadata: Metadata

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode, which stay the same if another file takes the path."""
        return self.status.st_dev, self.status.st_ino


def _list_directory(
    root: Path, path: str, identity: tuple[int, int] | None
) -> list[_DirectoryEntry]:
    """Return the entries of the directory at ``path`` in descending order of their names.

    Args:
        root: the directory that is the artifact.
        path: relative to it.
        identity: the device and inode that the directory must have, so that a symlink which has
            replaced it or one of its parents is detected; None for the root.
    """
    directory = root / path if path else root
    # The root itself may be a symlink: the user named it.
    no_follow = os.O_NOFOLLOW if path else 0
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | no_follow)
        try:
            status = os.fstat(fd)
            if identity not in (None, (status.st_dev, status.st_ino)):
                raise BundleFixError(
                    "the directory changed while it was read",
                    where=str(directory),
                    hint="run again",
                )
            with os.scandir(fd) as found:
                entries = sorted(found, key=lambda e: e.name, reverse=True)
            prefix = f"{path}/" if path else ""
            return [_read_entry(fd, entry, directory, prefix) for entry in entries]
        finally:
            os.close(fd)
    except OSError as error:
        raise build_os_error("cannot read the directory", error, where=str(directory)) from error


def _read_entry(fd: int, entry: os.DirEntry[str], directory: Path, prefix: str) -> _DirectoryEntry:
    """Read status, target and attributes of an entry of ``directory``, which is open as ``fd``."""
    try:
        status = entry.stat(follow_symlinks=False)
        target = os.readlink(entry.name, dir_fd=fd) if stat.S_ISLNK(status.st_mode) else ""
    except OSError as error:
        raise build_os_error("cannot read it", error, where=str(directory / entry.name)) from error
    metadata = read_metadata(f"/proc/self/fd/{fd}/{entry.name}", status)
    return _DirectoryEntry(f"{prefix}{entry.name}", status, target, metadata)


def _create_node(
    root: Path, entry: _DirectoryEntry, first_by_inode: dict[tuple[int, int], str]
) -> Node:
    """Return the node of an entry; all names of a file but the first become hard links."""
    status, path, metadata = entry.status, entry.path, entry.metadata
    if stat.S_ISLNK(status.st_mode):
        return Symlink(entry.target, metadata)
    if stat.S_ISDIR(status.st_mode):
        return Directory(metadata)
    if not stat.S_ISREG(status.st_mode):
        return Special("device, fifo or socket", metadata)
    first = first_by_inode.setdefault(entry.identity, path) if status.st_nlink > 1 else path
    content = make_path_content(root / path, status)
    return File(content, metadata, hardlink=None if first == path else first)


def read_metadata(path: str, status: os.stat_result) -> Metadata:
    """Return the metadata and extended attributes at ``path``; symlinks are not followed.

    Args:
        path: where to read the extended attributes.
        status: the result of lstat(2).
    """
    extra = {"mtime": _format_seconds(status.st_mtime_ns)}
    for name in _list_attributes(path):
        with suppress(OSError):
            value = os.getxattr(path, name, follow_symlinks=False)
            extra[ATTRIBUTE_PREFIX + name] = os.fsdecode(value)
    mode, mtime = stat.S_IMODE(status.st_mode), float(extra["mtime"])
    return Metadata(mode, status.st_uid, status.st_gid, mtime=mtime, extra=extra)


def _list_attributes(path: str) -> list[str]:
    """Return the names of extended attributes; empty if the file system does not support them."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _format_seconds(nanoseconds: int) -> str:
    """Return a time in seconds with nine decimals, as in a pax record."""
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09}"


def write_directory(tree: Tree, root: Path, progress: StepProgress = no_step_progress) -> None:
    """Write ``tree`` into the existing, empty directory ``root``.

    Modes and times are always kept, owners if the user may set them.

    Args:
        tree: the members to write.
        root: the directory.
        progress: receives the number of written members.

    Raises:
        BundleFixError: a member is a device, FIFO or socket, or its content cannot be read.
        OSError: ``root`` cannot be written to.
    """
    _create_members(tree, root, write_content, progress)


def unpack_tree(tree: Tree, root: Path) -> None:
    """Write ``tree`` into the existing, empty directory ``root``, which is soon removed again.

    See `write_directory`; the files are not flushed to the disk, which takes most of its time.
    """
    _create_members(tree, root, _copy_content, no_step_progress)


def _create_members(
    tree: Tree, root: Path, write: Callable[[File, Path], None], progress: StepProgress
) -> None:
    for path in sorted(tree.directories):
        (root / path).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, node in track_parts(tree.nodes.items(), progress):
        if isinstance(node, File):
            file = break_missing_hardlink(tree, node)
            if file.hardlink is None:
                write(file, root / path)
            else:
                (root / path).hardlink_to(root / file.hardlink)
        elif isinstance(node, Symlink):
            (root / path).symlink_to(node.target)
            apply_metadata(root / path, node.metadata, follow=False)
        elif isinstance(node, Special):
            raise BundleFixError(f"a {node.kind} cannot be copied", where=path)
    # Children first and after all files: a directory may be read-only, and each new entry changes
    # its time.
    for path in sorted(tree.directories, reverse=True):
        directory = tree.nodes.get(path)
        if isinstance(directory, Directory):
            apply_metadata(root / path, directory.metadata)
        else:
            (root / path).chmod(0o755)


def write_content(node: File, target: Path) -> None:
    """Write one file, flushed to the disk, with its owner, mode and time."""
    with _create_file(node, target) as descriptor:
        os.fsync(descriptor)
    apply_metadata(target, node.metadata)


def _copy_content(node: File, target: Path) -> None:
    with _create_file(node, target):
        pass
    apply_metadata(target, node.metadata)


@contextmanager
def _create_file(node: File, target: Path) -> Iterator[int]:
    """Write the bytes of one file and yield its descriptor."""
    with node.content.open() as reader, open(target, "xb", opener=_open_private) as file:
        copy_bytes(reader, file.fileno(), str(target))
        yield file.fileno()


def _open_private(path: str, flags: int) -> int:
    """Create a file that no other user can read before it has its final mode (see `open`)."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def apply_metadata(path: Path, metadata: Metadata, *, follow: bool = True) -> None:
    """Set mode, time and extended attributes of a file, and its owner if the user is root.

    Args:
        path: the file, directory or symlink.
        metadata: the values to set.
        follow: False for a symlink, whose mode Linux cannot change.
    """
    if os.geteuid() == 0:
        # In a user namespace root may only set the users that are mapped (user_namespaces(7)).
        with suppress(OSError):
            os.chown(path, metadata.uid, metadata.gid, follow_symlinks=False)
    if follow:
        path.chmod(metadata.mode)
    # After the owner: chown(2) removes file capabilities, which are an extended attribute.
    for name, value in metadata.extra.items():
        if name.startswith(ATTRIBUTE_PREFIX):
            with suppress(OSError):
                attribute = name.removeprefix(ATTRIBUTE_PREFIX)
                os.setxattr(path, attribute, os.fsencode(value), follow_symlinks=False)
    if metadata.mtime_text is None:
        os.utime(path, (metadata.mtime, metadata.mtime), follow_symlinks=False)
    else:
        # A float cannot represent nanoseconds.
        seconds, _, rest = metadata.mtime_text.partition(".")
        nanoseconds = int(seconds + rest.ljust(9, "0")[:9])
        os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
