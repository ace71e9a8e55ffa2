"""Scratch directories and files locked with flock(2); unlocked ones are leftovers of a killed run.

The kernel releases the lock when the process ends, however it ends. The next process that needs a
scratch directory removes the leftovers.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.subprocesses.locks import locks

SCRATCH_PREFIX = ".bundle-fix-"
SCRATCH_NAME = re.compile(re.escape(SCRATCH_PREFIX) + "[0-9a-f]{12}")
LOCKED_ERRORS = {errno.EWOULDBLOCK, errno.EACCES}
"""Errors of flock(2) with LOCK_NB while another process holds the lock."""


class LockedError(Exception):
    """Another process holds the lock of a file or directory."""


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Lock ``directory`` while the context is open, which marks it as in use.

    Raises:
        LockedError: another process holds the lock.
        OSError: the directory does not exist.
    """
    with _register_lock(_open_locked_directory(directory)):
        yield


@contextmanager
def _register_lock(fd: int) -> Iterator[None]:
    """Keep the lock ``fd`` until the context ends.

    A forked child, which may outlive this process, closes the registered descriptors: a lock of
    flock(2) lasts until every copy of its descriptor is closed.
    """
    locks.add(fd)
    try:
        yield
    finally:
        locks.discard(fd)
        os.close(fd)


def lock_file(fd: int) -> None:
    """Lock an open file or directory until it is closed.

    Raises:
        LockedError: another process holds the lock.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks raises others: there the random names have to suffice.
        if error.errno in LOCKED_ERRORS:
            raise LockedError from error


@contextmanager
def create_scratch_directory() -> Iterator[Path]:
    """Create a hidden scratch directory below TMPDIR and remove it when the context ends.

    Raises:
        BundleFixError: there is no directory for temporary files, or it is not writable.
    """
    # Imported here: an edit of a single file needs none of it.
    import tempfile

    try:
        parent = Path(tempfile.gettempdir())
    except OSError as error:
        raise BundleFixError(
            f"no directory for temporary files: {error.strerror}",
            hint="set TMPDIR to a writable directory",
        ) from error
    remove_unlocked(parent, SCRATCH_NAME)
    directory, fd = parent, None
    try:
        while fd is None:
            directory = parent / f"{SCRATCH_PREFIX}{os.urandom(6).hex()}"
            _create_directory(directory)
            # Before it is locked, another process may remove it as a leftover: then try again.
            with suppress(LockedError, FileNotFoundError):
                fd = _open_locked_directory(directory)
        with _register_lock(fd):
            yield directory
    finally:
        if directory != parent:
            remove_directory(directory)


def _create_directory(directory: Path) -> None:
    """Create ``directory`` with mode 0700, or raise a BundleFixError that names TMPDIR."""
    try:
        directory.mkdir(0o700)
    except OSError as error:
        raise build_os_error(
            "cannot create a temporary directory", error, where=str(directory.parent),
            hint="set TMPDIR to another directory",
        ) from error  # fmt: skip


def _open_locked_directory(directory: Path) -> int:
    """Open and lock ``directory``; return the descriptor that holds the lock.

    Raises:
        LockedError: another process holds the lock.
        OSError: the directory does not exist.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock_file(fd)
        # Another process may have removed the directory between open(2) and flock(2).
        directory.stat()
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove_unlocked(parent: Path, names: re.Pattern[str]) -> None:
    """Remove the unlocked files and directories of this user in ``parent`` that match ``names``."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if names.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(path: Path) -> None:
    """Remove the file or directory at ``path`` if it is this user's; raise OSError if locked."""
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


def remove_directory(directory: Path) -> None:
    """Remove ``directory`` and its contents, also if its subdirectories are not writable."""
    try:
        _remove_tree(directory)
    except BaseException:
        # Retry on interruption so that no directory is left behind.
        _remove_tree(directory)
        raise


def _remove_tree(root: Path) -> None:
    """Remove ``root`` and its contents; errors of the file system are ignored."""
    # A list that grows while it is traversed instead of recursion: trees may be deeper than
    # Python's recursion limit.
    directories = [root]
    with suppress(OSError):
        for directory in directories:
            directory.chmod(0o700)
            for entry in list(os.scandir(directory)):
                if entry.is_dir(follow_symlinks=False):
                    directories.append(Path(entry.path))
                else:
                    Path(entry.path).unlink()
        for directory in reversed(directories):
            directory.rmdir()
