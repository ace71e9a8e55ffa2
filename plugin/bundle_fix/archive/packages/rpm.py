"""RPM packages: headers, then the package's files in a compressed cpio archive. Only ever read.

Sources: the RPM package file format (rpm.org), and cpio's "newc" format (cpio(5)).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name
from bundle_fix.archive.packages.nested import open_nested_file
from bundle_fix.model.content import FileSlice
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import (
    Directory,
    File,
    InstallLocation,
    Metadata,
    Node,
    Special,
    Symlink,
    Tree,
)

LEAD = 96
HEADER_MAGIC = b"\x8e\xad\xe8\x01"
INDEX = 16
CPIO_MAGIC = (b"070701", b"070702")
CPIO_STRIPPED = b"07070X"
CPIO_HEADER = 110
HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]*")
MAX_NAME = 4096
MAX_NAMES = 128 << 20
"""Characters of all names together."""
TRAILER = "TRAILER!!!"


@contextmanager
def read_rpm(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The tree in the RPM package at ``path``, as it is installed.

    Raises:
        BundleFixError: it is no package, is damaged, or holds more than ``limits`` allow.
    """
    with path.open("rb") as file:
        fd = file.fileno()
        # The signature's header is filled up to eight bytes, the package's own is not.
        start = _header_end(fd, LEAD, path)
        start = _header_end(fd, start + -start % 8, path)
        payload = FileSlice(fd, start, os.fstat(fd).st_size - start)
        with open_nested_file(payload, "payload", path, limits, progress) as archive:
            yield _tree(archive, path, limits)


def _header_end(fd: int, at: int, path: Path) -> int:
    intro = os.pread(fd, 16, at)
    entries, size = int.from_bytes(intro[8:12], "big"), int.from_bytes(intro[12:16], "big")
    end = at + 16 + entries * INDEX + size
    if not intro.startswith(HEADER_MAGIC) or len(intro) < 16 or end > os.fstat(fd).st_size:
        raise BundleFixError(
            f"the package is cut short or damaged at byte {at}", where=str(path), hint=AGAIN
        )
    return end


class _Member(NamedTuple):
    """A member of a cpio archive: what its header says, and where its bytes are."""

    name: str
    inode: tuple[int, int, int]
    mode: int
    uid: int
    gid: int
    links: int
    mtime: int
    start: int
    size: int


def _tree(file: IO[bytes], path: Path, limits: Limits) -> Tree:
    nodes: dict[str, Node] = {}
    room = MAX_NAMES
    waiting: dict[tuple[int, int, int], list[tuple[str, _Member]]] = {}
    for member in _members(file, path):
        limits.check_members(len(nodes) + 1, path)
        name = clean_name(member.name.lstrip("/"), path)
        room -= len(name)
        if room < 0:
            raise BundleFixError(
                "the names of its files are longer than any honest ones", where=str(path),
                hint="a package like this one must not be trusted",
            )  # fmt: skip
        if name in nodes and not isinstance(nodes[name], Directory):
            raise BundleFixError(f"two members have the name {name!r}", where=str(path))
        nodes[name] = _node(member, file.fileno(), path)
        if stat.S_ISREG(member.mode) and member.links > 1:
            waiting.setdefault(member.inode, []).append((name, member))
    # Of hard links the last one has the bytes.
    for linked in waiting.values():
        first, last = linked[0][0], nodes[linked[-1][0]]
        for name, _ in linked:
            node = nodes[name]
            if isinstance(node, File) and isinstance(last, File):
                twin = first if name != first else None
                nodes[name] = File(last.content, node.metadata, hardlink=twin)
    tree = Tree(nodes, location=InstallLocation.BESIDE_OTHERS)
    check_parents(tree, path)
    return tree


def _members(file: IO[bytes], path: Path) -> Iterator[_Member]:
    fd, at, end = file.fileno(), 0, file.seek(0, 2)
    while True:
        header = os.pread(fd, CPIO_HEADER, at)
        if header.startswith(CPIO_STRIPPED):
            raise BundleFixError(
                "a file in the package is larger than 4 GiB, which cannot be read", where=str(path)
            )
        numbers = _numbers(header)
        if not header.startswith(CPIO_MAGIC) or len(numbers) < 13:
            raise BundleFixError(
                f"the package's files are cut short or damaged at byte {at} of {end}",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        inode, mode, uid, gid, links, mtime, size, major, minor, _, _, length, _ = numbers
        raw = os.pread(fd, min(length, MAX_NAME + 1), at + CPIO_HEADER)
        start = at + CPIO_HEADER + length
        start += -start % 4
        if length > MAX_NAME or not raw.endswith(b"\0") or start + size > end:
            raise BundleFixError("the package is cut short", where=str(path), hint=AGAIN)
        name = os.fsdecode(raw[:-1])
        if name == TRAILER:
            return
        yield _Member(name, (major, minor, inode), mode, uid, gid, links, mtime, start, size)
        at = start + size + -size % 4


def _numbers(header: bytes) -> list[int]:
    """The numbers of a header: eight hexadecimal digits each."""
    digits = header[6:]
    if not HEXADECIMAL.fullmatch(digits):
        return []
    return [int(digits[at : at + 8], 16) for at in range(0, len(digits) - 7, 8)]


def _node(member: _Member, fd: int, path: Path) -> Node:
    stamp = Metadata(stat.S_IMODE(member.mode), member.uid, member.gid, mtime=member.mtime)
    content = FileSlice(fd, member.start, member.size)
    if stat.S_ISDIR(member.mode):
        return Directory(stamp)
    if stat.S_ISLNK(member.mode):
        if member.size > MAX_NAME:
            raise BundleFixError(f"the link {member.name!r} is too long", where=str(path))
        return Symlink(os.fsdecode(os.pread(fd, member.size, member.start)), stamp)
    if stat.S_ISREG(member.mode):
        return File(content, stamp)
    return Special("device, fifo or socket", stamp)
