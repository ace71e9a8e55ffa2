"""Namespaces and mounts of a sandbox, made by system calls."""

from __future__ import annotations

import os
from pathlib import Path

from bundle_fix.run.sandbox import system_calls as calls
from bundle_fix.run.sandbox.command import INSIDE_USER, MEMORY_DIRECTORIES, Sandbox

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
NAMESPACES = calls.CLONE_NEWNS | calls.CLONE_NEWPID | calls.CLONE_NEWIPC | calls.CLONE_NEWUTS


def enter_namespaces(*, network: bool = False) -> None:
    """Move this process into new namespaces, those of a user included if that is permitted.

    Raises:
        OSError: The kernel forbids namespaces.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = NAMESPACES | (0 if network else calls.CLONE_NEWNET)
    try:
        calls.unshare_namespaces(flags | calls.CLONE_NEWUSER)
    except OSError:
        if uid != 0:
            raise
        calls.unshare_namespaces(flags)
    else:
        calls.map_user(uid, gid, INSIDE_USER)
    calls.make_mounts_private()


def enter_root(sandbox: Sandbox) -> None:
    """Mount the files of the sandbox and make its root the root directory of this process."""
    root = sandbox.root
    calls.bind_files(root, root)
    for name in MEMORY_DIRECTORIES:
        _mount_in_memory(root / name)
    _mount_in_memory(root / "dev", "755")
    (root / "dev/shm").mkdir(mode=0o1777)
    for name, link in DEVICE_LINKS.items():
        (root / "dev" / name).symlink_to(f"/proc/self/{link}")
    for name in DEVICES:
        device = Path("/dev", name)
        if device.exists():
            (root / "dev" / name).touch()
            calls.mount_files(str(device), root / "dev" / name, None, calls.MS_BIND)
    try:
        calls.mount_files("proc", root / "proc", "proc", calls.MS_NOSUID | calls.MS_NODEV)
    except OSError:
        # A container that hides parts of /proc permits no new one (mount_too_revealing).
        calls.mount_files("/proc", root / "proc", None, calls.MS_BIND | calls.MS_REC)
    for mount in sandbox.mounts:
        target = root / mount.target.lstrip("/")
        calls.bind_files(mount.source, target, writable=mount.writable)
    calls.change_root(root)


def _mount_in_memory(target: Path, mode: str = "1777") -> None:
    flags = calls.MS_NOSUID | calls.MS_NODEV
    calls.mount_files("tmpfs", target, "tmpfs", flags, f"mode={mode},size=50%")
