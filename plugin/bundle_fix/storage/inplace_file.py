"""Patches written into an existing file: its hard links, owner and attributes are kept.

A lease and an undo record make the change atomic. The kernel grants the lease (fcntl(2),
F_SETLEASE) only if no other process has the file open or mapped, and blocks open(2) in other
processes until the lease ends. The undo record is a hidden file in the same directory with the old
bytes. It is flushed to the disk before the first byte changes and removed after the last, so that
the next run undoes an edit that was killed in between.
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

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import Patch
from bundle_fix.storage.atomic import create_pending_file, sync_directory
from bundle_fix.storage.copy import write_at

RECORD_MAGIC = b"bundle-fix undo 1\n"
RECORD_NUMBERS = Struct("<QQ")
CAPABILITY_ATTRIBUTE = "security.capability"
"""The attribute that the kernel removes from a file on every write (capabilities(7))."""


class FileBusyError(Exception):
    """A file cannot be changed in place; the text is the reason."""


class _Change(NamedTuple):
    """The bytes at an offset before and after a patch; both have the same length."""

    offset: int
    old: bytes
    new: bytes


def patch_file(path: Path, patches: Sequence[Patch], before: os.stat_result) -> None:
    """Write ``patches`` into the file at ``path``, all of them or none.

    If the process is killed in between, the next call of `undo_patches` restores the old bytes.

    Args:
        path: a regular file, not a symlink.
        patches: the bytes to write; none extends beyond the end of the file.
        before: the status of the file when the patches were computed.

    Raises:
        FileBusyError: it is in use, or the user or its file system does not allow this.
        BundleFixError: the file has changed since, or the disk fails.
    """
    try:
        _write_patches(path, patches, before)
    except FileBusyError:
        raise
    except BaseException:
        # After the lease has ended: it would block the open(2) of `undo_patches` as well.
        undo_patches(path)
        raise


def _write_patches(path: Path, patches: Sequence[Patch], before: os.stat_result) -> None:
    """Write ``patches`` under a lease, with an undo record while they are incomplete."""
    with _open_with_lease(path) as fd:
        now = os.fstat(fd)
        if _get_file_identity(now) != _get_file_identity(before):
            raise BundleFixError(
                "the file changed while it was read", where=str(path), hint="run again"
            )
        capability = _read_capability(fd)
        changes = [_Change(p.offset, os.pread(fd, len(p.data), p.offset), p.data) for p in patches]
        record = get_undo_path(path)
        with create_pending_file(record) as pending:
            os.fchmod(pending.file.fileno(), 0o600)
            pending.file.write(_encode_undo_record(now, changes))
            pending.commit()
        for change in changes:
            write_at(fd, change.new, change.offset)
        _restore_metadata(fd, now, capability)
        os.fsync(fd)
    # If the power fails now and the record reappears, `undo_patches` sees that all was written.
    record.unlink()


def get_undo_path(path: Path) -> Path:
    """Return the path of the undo record that exists during an edit of ``path``."""
    return path.with_name(f".{path.name}.bundle-fix-undo")


def undo_patches(path: Path) -> bool:
    """Undo an edit of the file at ``path`` that was killed before it was complete.

    Returns:
        True if bytes were restored.

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
        changes = _decode_undo_record(data, status)
        # If another program has written these bytes since, the record does not apply any more.
        now = [os.pread(fd, len(c.old), c.offset) for c in changes]
        applies = all(map(_is_between, now, changes)) and now != [c.new for c in changes]
        if applies:
            capability = _read_capability(fd)
            for change in changes:
                write_at(fd, change.old, change.offset)
            _restore_metadata(fd, status, capability)
            os.fsync(fd)
    record.unlink()
    sync_directory(path.parent)
    return applies


@contextmanager
def _open_with_lease(path: Path) -> Iterator[int]:
    """Open the file at ``path`` for writing with a lease; yield the descriptor.

    Raises:
        FileBusyError: it cannot be opened, is in use, or its file system has no leases.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileBusyError(error.strerror) from error
    try:
        try:
            # When another process opens the file, the kernel signals the holder of the lease. The
            # default signal, SIGIO, would end this process; SIGURG is ignored by default.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            raise FileBusyError("it is in use, or its file system supports no leases") from error
        yield fd
    finally:
        os.close(fd)


def _get_file_identity(status: os.stat_result) -> tuple[int, ...]:
    """Return the numbers that differ if a file was replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_capability(fd: int) -> bytes | None:
    """Return the file's capabilities attribute, or None if it has none.

    Raises:
        FileBusyError: the user may not restore it after a write.
    """
    with suppress(OSError):
        if CAPABILITY_ATTRIBUTE not in os.listxattr(fd):
            return None
    try:
        # Setting the same value now shows whether `_restore_metadata` may set it later.
        value = os.getxattr(fd, CAPABILITY_ATTRIBUTE)
        os.setxattr(fd, CAPABILITY_ATTRIBUTE, value)
    except OSError as error:
        raise FileBusyError("the user may not restore its file capabilities") from error
    return value


def _restore_metadata(fd: int, status: os.stat_result, capability: bytes | None) -> None:
    """Restore the set-uid bits and capabilities that the kernel removes on a write."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        os.fchmod(fd, mode)
    if capability is not None:
        os.setxattr(fd, CAPABILITY_ATTRIBUTE, capability)


def _encode_undo_record(status: os.stat_result, changes: Sequence[_Change]) -> bytes:
    """Return the undo record: magic, inode and size; offset, length, old and new bytes of each."""
    parts = [RECORD_MAGIC, RECORD_NUMBERS.pack(status.st_ino, status.st_size)]
    for change in changes:
        parts += [RECORD_NUMBERS.pack(change.offset, len(change.old)), change.old, change.new]
    return b"".join(parts)


def _decode_undo_record(data: bytes, status: os.stat_result) -> list[_Change]:
    """Return the changes in an undo record; empty if it belongs to another file."""
    start = RECORD_MAGIC + RECORD_NUMBERS.pack(status.st_ino, status.st_size)
    if not data.startswith(start):
        return []
    changes, position = [], len(start)
    while position + RECORD_NUMBERS.size <= len(data):
        offset, length = RECORD_NUMBERS.unpack_from(data, position)
        old = position + RECORD_NUMBERS.size
        new, position = old + length, old + 2 * length
        changes.append(_Change(offset, data[old:new], data[new:position]))
    return changes


def _is_between(data: bytes, change: _Change) -> bool:
    """Return whether every byte has its value before the change or its value after it."""
    pairs = zip(change.old, change.new, strict=True)
    return all(byte in pair for byte, pair in zip(data, pairs, strict=True))
