"""Outputs appear whole or not at all: written without a name, flushed, then named.

A file is written into an unnamed inode (open(2), O_TMPFILE) of the folder it will stand in, so
that not even a kill leaves anything behind; where the file system has none, under a hidden name.
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

from bundle_fix.model.errors import BundleFixError
from bundle_fix.storage.staging import (
    LockedError,
    lock_file,
    locked,
    remove_directory,
    remove_unlocked,
)

NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
"""What open(2) says where a file system or an old kernel knows no O_TMPFILE."""

HIDDEN = r"\.{}\.[0-9a-f]{{12}}\.tmp"
"""The names that `make_hidden_path` makes of one."""

ASIDE = r"\.{}\.[0-9a-f]{{12}}\.old"
"""The names under which `move_aside` keeps one."""


class PendingFile(Struct, frozen=True):
    """A file that is being written; ``path`` reads it back before it has its name."""

    file: IO[bytes]
    path: Path
    target: Path
    named: bool

    def commit(self, like: Path | None = None) -> None:
        """Flush the file to the disk and give it its name, in the place of any file there.

        Args:
            like: the file whose mode, owner and attributes it takes; the one that it replaces,
                unless told.
        """
        self.file.flush()
        copy_metadata(self.file.fileno(), like or self.target)
        os.fsync(self.file.fileno())
        if self.named:
            self.path.replace(self.target)
        else:
            _name(self.file.fileno(), self.target)
        sync_directory(self.target.parent)


@contextmanager
def pending_file(target: Path) -> Iterator[PendingFile]:
    """A new file that becomes ``target`` by `PendingFile.commit`, or vanishes.

    Where ``target`` is a link, the file that it leads to is the one that is replaced.

    Raises:
        BundleFixError: the folder cannot be written to, there is no space, or what is there is no
            file.
    """
    with _told(target):
        target = Path(os.path.realpath(target))
        if target.exists() and not target.is_file():
            raise BundleFixError("what is there is not a file", where=str(target))
        _remove_abandoned(target)
        try:
            fd = os.open(target.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
            path, named = Path(f"/proc/self/fd/{fd}"), False
            if not path.exists():
                os.close(fd)
                (fd, path), named = _named(target), True
        except OSError as error:
            if error.errno not in NO_UNNAMED_FILES or not target.parent.is_dir():
                raise
            (fd, path), named = _named(target), True
        try:
            with os.fdopen(fd, "w+b") as file:
                with suppress(LockedError):
                    lock_file(fd)
                yield PendingFile(file, path, target, named)
        finally:
            if named:
                path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a short text to ``target``, whole or not at all.

    Raises:
        BundleFixError: the folder cannot be written to, or there is no space.
    """
    with pending_file(target) as pending:
        pending.file.write(os.fsencode(text))
        pending.commit()


@contextmanager
def pending_directory(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target`` that `commit_directory` renames to it, or that vanishes."""
    with _told(target):
        if target.exists() and not target.is_dir():
            raise BundleFixError("a file is there already", where=str(target))
        if target.is_dir() and any(target.iterdir()):
            raise BundleFixError(
                "the folder is there already and is not empty",
                where=str(target),
                hint="-o names another",
            )
        _remove_abandoned(target)
        folder = make_hidden_path(target)
        try:
            folder.mkdir(0o700)
            with locked(folder):
                yield folder
        finally:
            remove_directory(folder)


def commit_directory(folder: Path, target: Path) -> None:
    """Rename ``folder``, whose files are on the disk, to ``target``.

    What a killed process had set aside of that name, and nobody holds, has now been replaced.
    """
    folder.replace(target)
    sync_directory(target.parent)
    remove_unlocked(target.parent, re.compile(ASIDE.format(re.escape(target.name))))


@contextmanager
def move_aside(folder: Path) -> Iterator[None]:
    """Keep ``folder`` under a hidden name: it goes where another took its name, else it is back."""
    # Not a name that the next writer takes for what a killed one left: it may be all there is.
    hidden = make_hidden_path(folder).with_suffix(".old")
    folder.replace(hidden)
    try:
        with locked(hidden):
            yield
    finally:
        if folder.exists():
            remove_directory(hidden)
        else:
            hidden.replace(folder)


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(target)
        ) from error


def _named(target: Path) -> tuple[int, Path]:
    path = make_hidden_path(target)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), path


def _remove_abandoned(target: Path) -> None:
    """Remove what an earlier writer of ``target`` left, that was killed."""
    remove_unlocked(target.parent, re.compile(HIDDEN.format(re.escape(target.name))))


def make_hidden_path(target: Path) -> Path:
    """A name beside ``target`` that nothing has."""
    return target.with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")


def _name(fd: int, target: Path) -> None:
    """Give an unnamed file its name: at once where nothing has it, else by way of a hidden name."""
    try:
        _link(fd, target)
    except FileExistsError:
        hidden = make_hidden_path(target)
        try:
            _link(fd, hidden)
            hidden.replace(target)
        finally:
            hidden.unlink(missing_ok=True)


def _link(fd: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Only with a folder does Python call linkat, which alone follows /proc/self/fd.
        os.link(f"/proc/self/fd/{fd}", path.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def copy_metadata(fd: int, path: Path) -> tuple[str, ...]:
    """Give an open file the mode, owner and extended attributes of the one at ``path``, if any.

    Returns:
        What the user may not set: names of attributes, or ``owner``, and with it set-uid bits.
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
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
        lost.append("owner")
    os.fchmod(fd, mode)
    # Behind owner and mode: to change those drops capabilities, and the mode the ACL's mask.
    for name, value in attributes.items():
        try:
            if name not in os.listxattr(fd) or os.getxattr(fd, name) != value:
                os.setxattr(fd, name, value)
        except OSError:
            lost.append(name)
    return tuple(lost)


def sync_directory(folder: Path) -> None:
    """Have the names in ``folder`` on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
