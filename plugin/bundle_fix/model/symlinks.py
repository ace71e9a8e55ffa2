"""Resolution of paths through symlinks, as path_resolution(7) describes it.

One function for every kind of file system: a pack in memory, a pack on a host, this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

MAX_SYMLINKS = 40
"""Symlinks followed before a path counts as a loop: the kernel's limit (path_resolution(7))."""


class FileKind(Enum):
    """The kind of file at a path; symlinks are not followed."""

    DIRECTORY = "directory"
    FILE = "file"
    SPECIAL = "special"
    MISSING = "missing"
    UNKNOWN = "unknown"


class FileStatus(NamedTuple):
    """The kind of a file, a symlink's target, and an identity that all names of a file share."""

    kind: FileKind
    symlink_target: str | None = None
    identity: object = None


class Unresolved(Enum):
    """The reason why a path does not resolve."""

    MISSING = "missing"
    OUTSIDE = "outside"
    LOOP = "loop"


UNRESOLVED_TEXTS: Mapping[Unresolved, str] = {
    Unresolved.MISSING: "does not exist in the pack",
    Unresolved.OUTSIDE: "points outside the pack",
    Unresolved.LOOP: "is a symlink loop",
}
"""The reasons as the end of a sentence about a path in a pack."""


def follow_symlinks(
    path: str,
    get_status: Callable[[str], FileStatus],
    start: str = "/",
    top: str | None = None,
) -> str | Unresolved:
    """Resolve ``path`` as the kernel does: follow symlinks, apply ``..`` to their targets.

    Args:
        path: the path; symlinks in it are followed, also the last one.
        get_status: returns the status of an absolute path whose directories are no symlinks.
        start: the directory, without symlinks, that ``path`` is relative to.
        top: a directory that the path must not leave by ``..``; if it is ``/``, also not by
            absolute symlinks. None if ``..`` of the root is the root.

    Returns:
        The absolute path of something that is not a symlink, or the reason against one.
    """
    current = start
    pending = path.split("/")[::-1]
    followed = 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if current == top:
                return Unresolved.OUTSIDE
            current = current[: current.rindex("/")] or "/"
            continue
        below = f"{current}/{part}" if current != "/" else f"/{part}"
        status = get_status(below)
        target = status.symlink_target
        if target is not None:
            followed += 1
            if followed > MAX_SYMLINKS:
                return Unresolved.LOOP
            if target.startswith("/"):
                if top == "/":
                    return Unresolved.OUTSIDE
                current = "/"
            elif not target:
                # An empty target does not exist, nor does the path below it.
                return Unresolved.MISSING
            pending.extend(target.split("/")[::-1])
            continue
        if status.kind is FileKind.UNKNOWN:
            return Unresolved.OUTSIDE
        is_directory = status.kind is FileKind.DIRECTORY
        if status.kind is FileKind.MISSING or (pending and not is_directory):
            return Unresolved.MISSING
        current = below
    return current
