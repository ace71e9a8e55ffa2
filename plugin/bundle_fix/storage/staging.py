"""Temporary folders and files that are held while they are used; what nobody holds a kill left.

The lock (flock(2)) goes with the process, however that ends. The next to need such a one removes
those that are left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bundle_fix.model.errors import BundleFixError
from bundle_fix.subprocesses import forks

PREFIX = ".bundle-fix-"
SCRATCH = re.compile(re.escape(PREFIX) + "[0-9a-f]{12}")
HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EACCES}


class LockedError(Exception):
    """Another process holds the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, so that others see that it is in use.

    Raises:
        HeldError: another process does.
        OSError: there is no such folder.
    """
    with _going_with_this_process(_held_folder(folder)):
        yield


@contextmanager
def _going_with_this_process(fd: int) -> Iterator[None]:
    """Keep a lock until the context ends, or this process does: what it forks may last longer."""
    forks.locks.add(fd)
    try:
        yield
    finally:
        forks.locks.discard(fd)
        os.close(fd)


def lock_file(fd: int) -> None:
    """Hold an open file or folder until it is closed.

    Raises:
        HeldError: another process holds it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks: all that helps there is that names are never the same.
        if error.errno in HELD_BY_ANOTHER:
            raise LockedError from error


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A folder for temporary files, hidden in the one that TMPDIR names.

    Raises:
        BundleFixError: there is no folder for temporary files.
    """
    try:
        parent = Path(tempfile.gettempdir())
    except OSError as error:
        raise BundleFixError(
            f"there is no temporary folder: {error.strerror}", hint="TMPDIR names one"
        ) from error
    remove_unlocked(parent, SCRATCH)
    folder, fd = parent, None
    try:
        while fd is None:
            folder = parent / f"{PREFIX}{os.urandom(6).hex()}"
            _make(folder)
            # Until it is held, another process may take it for one that a kill left.
            with suppress(LockedError, FileNotFoundError):
                fd = _held_folder(folder)
        with _going_with_this_process(fd):
            yield folder
    finally:
        if folder != parent:
            remove_directory(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(0o700)
    except OSError as error:
        raise BundleFixError(
            f"cannot make a folder there: {error.strerror}", where=str(folder.parent),
            hint="TMPDIR names another one",
        ) from error  # fmt: skip


def _held_folder(folder: Path) -> int:
    """The descriptor that holds ``folder``, which is there.

    Raises:
        HeldError: another process holds it.
        OSError: there is no such folder.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock_file(fd)
        folder.stat()
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove_unlocked(parent: Path, names: re.Pattern[str]) -> None:
    """Remove what in ``parent`` has such a name, is this user's and is held by nobody."""
    with suppress(OSError), os.scandir(parent) as found:
        for entry in found:
            if names.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            return
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISDIR(status.st_mode):
            remove_directory(path)
        elif stat.S_ISREG(status.st_mode):
            path.unlink()
    finally:
        os.close(fd)


def remove_directory(folder: Path) -> None:
    """Remove ``folder`` with all that is in it, also where its folders may not be written to."""
    try:
        _remove(folder)
    except BaseException:
        # Who is told to end in the midst of it leaves nothing either.
        _remove(folder)
        raise


def _remove(folder: Path) -> None:
    folders = [folder]
    with suppress(OSError):
        for found in folders:
            found.chmod(0o700)
            for entry in list(os.scandir(found)):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    Path(entry.path).unlink()
        for found in reversed(folders):
            found.rmdir()
