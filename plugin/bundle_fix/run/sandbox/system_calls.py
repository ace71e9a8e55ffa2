"""System calls that separate a process from this machine: namespaces, mounts, the root directory.

Sources: namespaces(7), user_namespaces(7), mount(2), pivot_root(2). `os.unshare` requires Python
3.12, and `os.mount` does not exist.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

from bundle_fix.model.printable import decode_octal_escapes

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 0x1000, 0x4000, 0x40000, 1 << 21
MNT_DETACH = 2
ST_RELATIME = 4096
"""The flag of statvfs(3), whose other flags have the values of mount(2)."""
LOCKED_FLAGS = MS_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
"""Flags of a mount that a user namespace must repeat when it mounts the same files again."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
INTERFACE = struct.Struct("16sh")
"""The name and the flags in struct ifreq (netdevice(7))."""


def unshare_namespaces(flags: int) -> None:
    """Move this process into new namespaces; raise OSError if that is not permitted."""
    _raise_on_failure(ctypes.CDLL(None, use_errno=True).unshare(flags), "unshare")


def map_user(uid: int, gid: int, inside: int) -> None:
    """Map the user and the group of this process to the number ``inside`` in its namespace."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1", encoding="ascii")


def mount_files(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    """Call mount(2).

    Raises:
        OSError: the kernel refuses; the error names the target.
    """
    status = ctypes.CDLL(None, use_errno=True).mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(kind) if kind else None,
        ctypes.c_ulong(flags), os.fsencode(options) or None,
    )  # fmt: skip
    _raise_on_failure(status, f"mount {target}")


def bind_files(source: Path, target: Path, *, writable: bool = False) -> None:
    """Make ``source`` visible at ``target``, which exists; read-only unless ``writable``."""
    mount_files(str(source), target, None, MS_BIND | MS_REC)
    for point in _list_mount_points(target):
        found = os.statvfs(point).f_flag
        flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | found & LOCKED_FLAGS
        flags |= MS_RELATIME if found & ST_RELATIME else 0
        mount_files("none", point, None, flags | (0 if writable else MS_RDONLY))


def _list_mount_points(top: Path) -> list[Path]:
    """Return ``top`` and the mount points below it; mount(2) changes the flags of one at a time."""
    found: dict[Path, None] = {top: None}
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = Path(decode_octal_escapes(line.split()[4]))
        if point.is_relative_to(top):
            found[point] = None
    return list(found)


def make_mounts_private() -> None:
    """Keep later mounts out of the namespace that this process came from."""
    mount_files("none", Path("/"), None, MS_REC | MS_PRIVATE)


def change_root(root: Path) -> None:
    """Make ``root``, a mount point, the root directory, and detach the previous one."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.chdir(root)
    # Both directories may be the same: the old root is then mounted over the new one
    # (pivot_root(2)).
    _raise_on_failure(libc.pivot_root(b".", b"."), "pivot_root")
    _raise_on_failure(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def start_loopback() -> None:
    """Set the loopback interface of a new network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, INTERFACE.pack(b"lo", 0).ljust(40, b"\0"))
        name, flags = INTERFACE.unpack_from(answer)
        fcntl.ioctl(control, SIOCSIFFLAGS, INTERFACE.pack(name, flags | IFF_UP).ljust(40, b"\0"))


def _raise_on_failure(status: int, call: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
