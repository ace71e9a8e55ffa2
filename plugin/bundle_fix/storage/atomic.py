"""Atomic outputs: written without a name, flushed, then named; an output is complete or missing.

A file is written into an unnamed inode (open(2), O_TMPFILE) in its final directory, so that even
SIGKILL leaves nothing behind. File systems without O_TMPFILE get a hidden temporary name instead.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.storage.staging import (
    LockedError,
    lock_directory,
    lock_file,
    remove_directory,
    remove_unlocked,
)

NO_TMPFILE_ERRORS = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
"""Errors of open(2) with O_TMPFILE on a file system or an old kernel that does not support it."""

HIDDEN_NAME = r"\.{}\.[0-9a-f]{{12}}\.tmp"
"""Pattern of the names that `generate_hidden_path` returns for a name."""

ASIDE_NAME = r"\.{}\.[0-9a-f]{{12}}\.old"
"""Pattern of the names under which `move_aside` keeps a directory."""


class PendingFile(Struct, frozen=True):
    """A file that is being written and does not have its final name yet.

    Attributes:
        file: the open file.
        path: a path that reads it back before it has its final name.
        target: the final name.
        is_hidden: whether it has a hidden temporary name; otherwise it has no name.
    """

    file: IO[bytes]
    path: Path
    target: Path
    is_hidden: bool

    def commit(self, like: Path | None = None) -> None:
        """Flush the file to the disk and give it its final name, replacing an existing file.

        Args:
            like: the file whose mode, owner and extended attributes are copied; by default the
                file that is replaced.
        """
        self.file.flush()
        copy_metadata(self.file.fileno(), like or self.target)
        os.fsync(self.file.fileno())
        if self.is_hidden:
            self.path.replace(self.target)
        else:
            _name_file(self.file.fileno(), self.target)
        # The rename itself is on the disk only after fsync(2) of the directory.
        sync_directory(self.target.parent)


@contextmanager
def create_pending_file(target: Path) -> Iterator[PendingFile]:
    """Create a file that `PendingFile.commit` renames to ``target``; without a commit it vanishes.

    If ``target`` is a symlink, the file that it points to is replaced.

    Raises:
        BundleFixError: the directory is not writable, the disk is full, or ``target`` exists and
            is not a regular file.
    """
    with _translate_os_errors(target):
        target = Path(os.path.realpath(target))
        if target.exists() and not target.is_file():
            raise BundleFixError("cannot replace it: it is not a regular file", where=str(target))
        _remove_abandoned(target)
        try:
            fd = os.open(target.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
            path, is_hidden = Path(f"/proc/self/fd/{fd}"), False
            # Without /proc the file could neither be read back nor be named with linkat(2).
            if not path.exists():
                os.close(fd)
                (fd, path), is_hidden = _create_hidden_file(target), True
        except OSError as error:
            if error.errno not in NO_TMPFILE_ERRORS or not target.parent.is_dir():
                raise
            (fd, path), is_hidden = _create_hidden_file(target), True
        try:
            with os.fdopen(fd, "w+b") as file:
                # The lock marks the file as in use, so that no other process removes it.
                with suppress(LockedError):
                    lock_file(fd)
                yield PendingFile(file, path, target, is_hidden)
        finally:
            if is_hidden:
                path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a short text to ``target`` atomically.

    Raises:
        BundleFixError: the directory is not writable, or the disk is full.
    """
    with create_pending_file(target) as pending:
        pending.file.write(os.fsencode(text))
        pending.commit()


@contextmanager
def create_pending_directory(target: Path) -> Iterator[Path]:
    """Create an empty directory next to ``target``; without `commit_directory` it is removed.

    Raises:
        BundleFixError: ``target`` is a file or a directory that is not empty, or its parent
            directory is not writable.
    """
    with _translate_os_errors(target):
        if target.exists() and not target.is_dir():
            raise BundleFixError("a file with this name already exists", where=str(target))
        if target.is_dir() and any(target.iterdir()):
            raise BundleFixError(
                "the directory already exists and is not empty",
                where=str(target),
                hint="choose another one with -o",
            )
        _remove_abandoned(target)
        directory = generate_hidden_path(target)
        try:
            directory.mkdir(0o700)
            with lock_directory(directory):
                yield directory
        finally:
            remove_directory(directory)


def commit_directory(directory: Path, target: Path) -> None:
    """Rename ``directory``, whose files are already flushed to the disk, to ``target``.

    Also remove old versions of ``target`` that a killed process left under an aside name: the new
    one replaces them.
    """
    directory.replace(target)
    sync_directory(target.parent)
    remove_unlocked(target.parent, re.compile(ASIDE_NAME.format(re.escape(target.name))))


@contextmanager
def move_aside(directory: Path) -> Iterator[None]:
    """Rename ``directory`` to a hidden name while a new version of it is written.

    At the end it is removed if a new directory has taken its name; otherwise it gets its name back.
    """
    # The suffix differs from that of temporary files, which `_remove_abandoned` removes: after a
    # kill this directory may be the only copy.
    hidden = generate_hidden_path(directory).with_suffix(".old")
    directory.replace(hidden)
    try:
        with lock_directory(hidden):
            yield
    finally:
        if directory.exists():
            remove_directory(hidden)
        else:
            hidden.replace(directory)


@contextmanager
def _translate_os_errors(target: Path) -> Iterator[None]:
    """Raise a BundleFixError about ``target`` instead of an OSError."""
    try:
        yield
    except OSError as error:
        raise build_os_error("cannot write it", error, where=str(target)) from error


def _create_hidden_file(target: Path) -> tuple[int, Path]:
    """Create a file with a hidden name next to ``target``; return its descriptor and path."""
    path = generate_hidden_path(target)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), path


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of ``target`` that a killed process left."""
    remove_unlocked(target.parent, re.compile(HIDDEN_NAME.format(re.escape(target.name))))


def generate_hidden_path(target: Path) -> Path:
    """Return a random hidden path next to ``target``, for a temporary file or directory."""
    return target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")


def _name_file(fd: int, target: Path) -> None:
    """Give an unnamed file the name ``target``, also if a file has it already."""
    try:
        _link_descriptor(fd, target)
    except FileExistsError:
        # linkat(2) never replaces a file, rename(2) does.
        hidden = generate_hidden_path(target)
        try:
            _link_descriptor(fd, hidden)
            hidden.replace(target)
        finally:
            hidden.unlink(missing_ok=True)


def _link_descriptor(fd: int, path: Path) -> None:
    """Give the unnamed file that is open as ``fd`` the free name ``path``."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a directory descriptor does Python call linkat(2) with AT_SYMLINK_FOLLOW, which
        # follows /proc/self/fd (open(2), O_TMPFILE); link(2) does not.
        os.link(f"/proc/self/fd/{fd}", path.name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)


def copy_metadata(fd: int, path: Path) -> tuple[str, ...]:
    """Copy mode, owner and extended attributes of the file at ``path``, if any, to an open file.

    Returns:
        The metadata that the user may not set: names of attributes, or ``owner``, in which case
        the set-uid and set-gid bits are dropped as well.
    """
    try:
        status = path.stat()
    except OSError:
        return ()
    try:
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError:
        attributes = {}
    mode = stat.S_IMODE(status.st_mode)
    lost: list[str] = []
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except OSError:
        # The bits would grant the rights of the wrong user.
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
        lost.append("owner")
    os.fchmod(fd, mode)
    # After owner and mode: chown(2) drops capabilities, and chmod(2) changes the mask of an ACL.
    for name, value in attributes.items():
        try:
            if name not in os.listxattr(fd) or os.getxattr(fd, name) != value:
                os.setxattr(fd, name, value)
        except OSError:
            lost.append(name)
    return tuple(lost)


def sync_directory(directory: Path) -> None:
    """Flush the names in ``directory`` to the disk (fsync(2))."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
