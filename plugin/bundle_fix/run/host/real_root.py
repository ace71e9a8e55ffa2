"""A real root file system as the host of a run: its directories, mounted read-only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.model.errors import build_os_error
from bundle_fix.run.sandbox.command import Mount

OWN_DIRECTORIES = ("/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp")  # noqa: S108
"""Directories that the sandbox makes itself; sockets in /run would lead out of it."""


def mount_real_root(host: Path, root: Path, at: str) -> Iterator[Mount]:
    """Yield the mounts that make the directories of ``host`` visible in ``root``.

    Args:
        host: the root directory of the real file system.
        root: the root directory of the sandbox; symlinks and mount points are created in it.
        at: the directory of the pack, which hides one of the host.

    Raises:
        BundleFixError: ``host`` cannot be read.
    """
    own = (*OWN_DIRECTORIES, at)
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = sorted(os.scandir(host / inside.lstrip("/")), key=lambda entry: entry.name)
        except OSError as error:
            raise build_os_error("cannot read the host", error, where=str(host)) from error
        for entry in entries:
            path = f"{inside}/{entry.name}"
            target = root / path.lstrip("/")
            if path in own:
                continue
            if entry.is_symlink():
                target.symlink_to(os.readlink(entry.path))  # noqa: PTH115
            elif any(other.startswith(f"{path}/") for other in own):
                target.mkdir(exist_ok=True)
                pending.append(path)
            elif entry.is_dir():
                target.mkdir(exist_ok=True)
                yield Mount(Path(entry.path), path)
            elif entry.is_file():
                target.touch()
                yield Mount(Path(entry.path), path)
