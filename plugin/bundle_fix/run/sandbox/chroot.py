"""A sandbox without namespaces and mounts: chroot(2), which a container may permit to root."""

from __future__ import annotations

import os
from pathlib import Path

from bundle_fix.run.sandbox.command import Sandbox
from bundle_fix.run.sandbox.namespaces import DEVICES

NOBODY = 65534
"""The user and the group of a program in a chroot."""


def enter_chroot(sandbox: Sandbox, program: str) -> None:
    """Make the root of the sandbox that of this process, as a user without privileges.

    Args:
        sandbox: the sandbox; it has no mounts.
        program: the path of the program in it. Without /proc the loader reads ``$ORIGIN`` of a
            program from this symlink (glibc's sysdeps/unix/sysv/linux/dl-origin.c).
    """
    link = sandbox.root / "proc/self/exe"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(program)
    for name in DEVICES:
        _create_device(sandbox.root / "dev" / name, Path("/dev", name))
    for name in ("tmp", "run", "var/tmp", "dev/shm"):
        (sandbox.root / name).mkdir(exist_ok=True)
        (sandbox.root / name).chmod(0o1777)
    os.setsid()
    os.chroot(sandbox.root)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _create_device(target: Path, like: Path) -> None:
    """Create a device like another one, or an empty file if that is not permitted."""
    if target.exists() or not like.exists():
        return
    status = like.stat()
    try:
        os.mknod(target, status.st_mode, status.st_rdev)
    except PermissionError:
        target.touch()
    target.chmod(0o666)
