"""Patches written into a file where it lies: every name, owner and attribute of it stays.

What a rename does for a copy is done here by a lease and a record. The lease (fcntl(2), F_SETLEASE)
is given only where nobody else has the file open or mapped, and keeps whoever opens it waiting
until all is written. The record, a hidden file beside, has the bytes that were there: it is on the
disk before the first of them changes and goes when the last has, so that an edit which was killed
in between is undone by the next.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bundle_fix.model.content import Patch
from bundle_fix.model.errors import BundleFixError
from bundle_fix.storage.atomic import pending_file, sync_directory
from bundle_fix.storage.copy import write_at

MAGIC = b"bundle-fix undo 1\n"
NUMBERS = Struct("<QQ")
CAPABILITY = "security.capability"
"""The attribute that the kernel drops from a file with every write."""


class FileBusyError(Exception):
    """The file cannot be written to where it lies; the text says why."""


class _Change(NamedTuple):
    """Bytes at an offset, before and after."""

    offset: int
    old: bytes
    new: bytes


def patch_file(path: Path, patches: Sequence[Patch], before: os.stat_result) -> None:
    """Write ``patches`` into the file at ``path``, all of them or none.

    After a kill in the middle the next call of `undo_patches` restores the old bytes.

    Args:
        path: a regular file, not a link.
        patches: what to write; none reaches beyond the file.
        before: what the file was like when the patches were made.

    Raises:
        BusyError: it is in use, or the user or its file system does not allow this.
        BundleFixError: it is not the file that it was, or the disk fails.
    """
    try:
        _patch(path, patches, before)
    except FileBusyError:
        raise
    except BaseException:
        # Behind the lease, which would keep this waiting too.
        undo_patches(path)
        raise


def _patch(path: Path, patches: Sequence[Patch], before: os.stat_result) -> None:
    with _leased(path) as fd:
        now = os.fstat(fd)
        if _identity(now) != _identity(before):
            raise BundleFixError(
                "the file changed while it was read", where=str(path), hint="run again"
            )
        capability = _capability(fd)
        changes = [_Change(p.offset, os.pread(fd, len(p.data), p.offset), p.data) for p in patches]
        record = get_undo_path(path)
        with pending_file(record) as pending:
            os.fchmod(pending.file.fileno(), 0o600)
            pending.file.write(_packed(now, changes))
            pending.commit()
        for change in changes:
            write_at(fd, change.new, change.offset)
        _restore(fd, now, capability)
        os.fsync(fd)
    # Should the power fail now and the record come back, `undo_patches` sees that all was written.
    record.unlink()


def get_undo_path(path: Path) -> Path:
    """Where the record of an edit of ``path`` is, while it lasts."""
    return path.with_name(f".{path.name}.bundle-fix-undo")


def undo_patches(path: Path) -> bool:
    """Take back an edit of the file at ``path`` that was killed before it was complete.

    Returns:
        Whether there was one.

    Raises:
        OSError: the file cannot be written to.
    """
    record = get_undo_path(path)
    try:
        data = record.read_bytes()
    except OSError:
        return False
    with path.open("r+b", buffering=0) as file:
        fd = file.fileno()
        status = os.fstat(fd)
        changes = _unpacked(data, status)
        # Where something else has written since, the record is of another file.
        now = [os.pread(fd, len(c.old), c.offset) for c in changes]
        mine = all(map(_is_between, now, changes)) and now != [c.new for c in changes]
        if mine:
            capability = _capability(fd)
            for change in changes:
                write_at(fd, change.old, change.offset)
            _restore(fd, status, capability)
            os.fsync(fd)
    record.unlink()
    sync_directory(path.parent)
    return mine


@contextmanager
def _leased(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileBusyError(error.strerror) from error
    try:
        try:
            # The default signal to the holder when another opens the file, SIGIO, would kill us.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            raise FileBusyError("it is in use, or its file system gives no leases") from error
        yield fd
    finally:
        os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _capability(fd: int) -> bytes | None:
    """The file's capabilities, if any.

    Raises:
        BusyError: they could not be put back.
    """
    with suppress(OSError):
        if CAPABILITY not in os.listxattr(fd):
            return None
    try:
        value = os.getxattr(fd, CAPABILITY)
        os.setxattr(fd, CAPABILITY, value)
    except OSError as error:
        raise FileBusyError("its capabilities could not be kept") from error
    return value


def _restore(fd: int, status: os.stat_result, capability: bytes | None) -> None:
    """Put back what the kernel drops with a write: set-uid bits and capabilities."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        os.fchmod(fd, mode)
    if capability is not None:
        os.setxattr(fd, CAPABILITY, capability)


def _packed(status: os.stat_result, changes: Sequence[_Change]) -> bytes:
    parts = [MAGIC, NUMBERS.pack(status.st_ino, status.st_size)]
    for change in changes:
        parts += [NUMBERS.pack(change.offset, len(change.old)), change.old, change.new]
    return b"".join(parts)


def _unpacked(data: bytes, status: os.stat_result) -> list[_Change]:
    """The changes of a record; none where it is not one of this file."""
    start = MAGIC + NUMBERS.pack(status.st_ino, status.st_size)
    if not data.startswith(start):
        return []
    changes, at = [], len(start)
    while at + NUMBERS.size <= len(data):
        offset, length = NUMBERS.unpack_from(data, at)
        old = at + NUMBERS.size
        new, at = old + length, old + 2 * length
        changes.append(_Change(offset, data[old:new], data[new:at]))
    return changes


def _is_between(data: bytes, change: _Change) -> bool:
    """Whether every byte is that before the change or that after it."""
    pairs = zip(change.old, change.new, strict=True)
    return all(byte in pair for byte, pair in zip(data, pairs, strict=True))
