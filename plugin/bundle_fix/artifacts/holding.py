"""Temporary folders that are held while they are used; what nobody holds was left by a kill.

The lock (flock(2)) goes with the process, however that ends. The next to need such a folder removes
those that are left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bundle_fix.errors import BundleFixError

PREFIX = ".bundle-fix-"
SCRATCH = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")
"""Names of scratch folders: with ``PREFIX``, what tempfile.mkdtemp gives."""
HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EACCES}


class HeldError(Exception):
    """Another process holds the folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold ``folder``, so that others see that it is in use.

    Raises:
        HeldError: another process does.
        OSError: there is no such folder.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # A file system without locks: then nobody removes what they cannot lock either.
            if error.errno in HELD_BY_ANOTHER:
                raise HeldError from error
        yield
    finally:
        os.close(fd)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files, hidden in the one that TMPDIR names.

    Raises:
        BundleFixError: there is no folder for temporary files.
    """
    try:
        parent = Path(tempfile.gettempdir())
        remove_abandoned(parent, SCRATCH)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise BundleFixError(
            f"there is no temporary folder: {error.strerror}", hint="TMPDIR names one"
        ) from error
    try:
        with held(folder):
            yield folder
    finally:
        remove_folder(folder)


def remove_abandoned(parent: Path, names: re.Pattern[str]) -> None:
    """Remove the folders in ``parent`` with such names that are this user's and nobody holds."""
    with suppress(OSError), os.scandir(parent) as found:
        for entry in found:
            if names.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError, HeldError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    status = folder.lstat()
    if status.st_uid == os.geteuid():
        with held(folder):
            remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove ``folder`` with all that is in it, also where its folders may not be written to."""
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
