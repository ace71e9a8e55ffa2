"""Reader of RPM packages: headers, then the package's files in a compressed cpio archive.

Sources: the RPM V4 package format (rpm.org, "Package Format"), and cpio's "newc" format (cpio(5)).
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from msgspec.structs import replace

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name
from bundle_fix.archive.packages.nested import open_nested_file
from bundle_fix.archive.packages.rpm_header import (
    RpmFile,
    find_header,
    read_capabilities,
    read_files,
    read_requires,
)
from bundle_fix.model.content import FileSlice
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError
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
from bundle_fix.storage.privileges import add_capabilities

LEAD_SIZE = 96
CPIO_MAGICS = (b"070701", b"070702")
CPIO_STRIPPED_MAGIC = b"07070X"
"""Members with only the number of the file in the package's header. rpm writes them if a file is
larger than 4 GiB, and in each package of format V6 (rpm's lib/cpio.c)."""
CPIO_STRIPPED_SIZE = 14
CPIO_HEADER_SIZE = 110
CPIO_FIELDS = 13
CPIO_DIGITS = 8
HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]*")
MAX_NAME = 4096
"""Bytes of a file name or symlink target (PATH_MAX)."""
MAX_ALL_NAMES = 128 << 20
"""Characters of all file names of a package together."""
TRAILER = "TRAILER!!!"
"""Name of the member that ends a cpio archive."""


@contextmanager
def read_rpm(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Read the tree that the RPM package at ``path`` installs.

    Raises:
        BundleFixError: it is damaged or exceeds ``limits``.
    """
    with path.open("rb") as file:
        fd = file.fileno()
        # The signature header is padded to a multiple of eight bytes; the main header is not.
        signatures = find_header(fd, LEAD_SIZE, path)
        header = find_header(fd, signatures.end + -signatures.end % 8, path)
        payload = FileSlice(fd, header.end, os.fstat(fd).st_size - header.end)
        with open_nested_file(payload, "payload", path, limits, progress) as archive:
            tree = _read_cpio(archive, read_files(header), path, limits)
            tree = replace(tree, requires=read_requires(header))
            yield add_capabilities(tree, read_capabilities(header))


class _CpioMember(NamedTuple):
    """A member of a cpio archive: the fields of its header and the location of its bytes."""

    name: str
    inode: tuple[int, ...]
    mode: int
    uid: int
    gid: int
    links: int
    mtime: int
    start: int
    size: int


def _read_cpio(file: IO[bytes], files: Sequence[RpmFile], path: Path, limits: Limits) -> Tree:
    """Return the tree in a decompressed cpio archive; ``file`` must stay open.

    Args:
        file: the archive.
        files: the files in the package's header.
        path: the package, for messages.
        limits: the limits for its members.
    """
    nodes: dict[str, Node] = {}
    names_left = MAX_ALL_NAMES
    linked: dict[tuple[int, ...], list[str]] = {}
    listed = {posixpath.normpath(f"/{item.name.lstrip('/')}"): item for item in files}
    for member in _iter_cpio_members(file, files, path):
        limits.check_members(len(nodes) + 1, path)
        name = clean_name(member.name.lstrip("/"), path)
        names_left -= len(name)
        if names_left < 0:
            raise BundleFixError(
                f"its file names exceed the safety limit ({MAX_ALL_NAMES >> 20} MiB)",
                where=str(path), hint=UNTRUSTED,
            )  # fmt: skip
        if name in nodes and not isinstance(nodes[name], Directory):
            raise BundleFixError(
                f"two members have the name {name!r}", where=str(path), hint=UNTRUSTED
            )
        nodes[name] = _build_cpio_node(member, file.fileno(), path)
        if listed:
            _check_header(nodes[name], member.mode, name, listed.get(f"/{name}"), path)
        if stat.S_ISREG(member.mode) and member.links > 1:
            linked.setdefault(member.inode, []).append(name)
    for names in linked.values():
        _join_hardlinks(nodes, names)
    tree = Tree(nodes, location=InstallLocation.BESIDE_OTHERS)
    check_parents(tree, path)
    return tree


def _join_hardlinks(nodes: dict[str, Node], names: list[str]) -> None:
    """Make the files with these names hard links; in cpio only the last one has the bytes."""
    first, last = names[0], nodes[names[-1]]
    for name in names:
        node = nodes[name]
        if isinstance(node, File) and isinstance(last, File):
            link = first if name != first else None
            nodes[name] = File(last.content, node.metadata, hardlink=link)


def _check_header(node: Node, mode: int, name: str, file: RpmFile | None, path: Path) -> None:
    """Raise an error if a member differs in kind from the file in the package's header.

    rpm follows the header, and ``rpm2cpio`` with cpio follows the archive.
    """
    link = node.target if isinstance(node, Symlink) else ""
    if file is None or stat.S_IFMT(file.mode) != stat.S_IFMT(mode) or file.link != link:
        raise BundleFixError(
            f"the member {name!r} does not match the package's header", where=str(path),
            hint=UNTRUSTED,
        )  # fmt: skip


def _iter_cpio_members(
    file: IO[bytes], files: Sequence[RpmFile], path: Path
) -> Iterator[_CpioMember]:
    """Yield the members of a cpio archive; their names and bytes are padded to four bytes.

    Raises:
        BundleFixError: a header is invalid, or the archive is truncated.
    """
    fd, at, end = file.fileno(), 0, file.seek(0, 2)
    lasts = _number_hardlinks(files)
    while True:
        header = os.pread(fd, CPIO_HEADER_SIZE, at)
        if header.startswith(CPIO_STRIPPED_MAGIC):
            member = _read_stripped_member(header, at, files, lasts)
        else:
            member = _read_newc_member(fd, header, at, path)
        if member is None:
            raise BundleFixError(
                f"the package's files are truncated or damaged at byte {at} of {end}",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        if member.start + member.size > end:
            raise BundleFixError("the package is truncated", where=str(path), hint=AGAIN)
        if member.name == TRAILER:
            return
        yield member
        at = member.start + member.size + -member.size % 4


def _read_newc_member(fd: int, header: bytes, at: int, path: Path) -> _CpioMember | None:
    """Return the member with a ``newc`` header; None if it is invalid."""
    numbers = _parse_cpio_numbers(header)
    if not header.startswith(CPIO_MAGICS) or len(numbers) < CPIO_FIELDS:
        return None
    inode, mode, uid, gid, links, mtime, size, major, minor, _, _, length, _ = numbers
    raw = os.pread(fd, min(length, MAX_NAME + 1), at + CPIO_HEADER_SIZE)
    if length > MAX_NAME or not raw.endswith(b"\0"):
        raise BundleFixError("the package is truncated", where=str(path), hint=AGAIN)
    start = at + CPIO_HEADER_SIZE + length
    start += -start % 4
    name, identity = os.fsdecode(raw[:-1]), (major, minor, inode)
    return _CpioMember(name, identity, mode, uid, gid, links, mtime, start, size)


def _number_hardlinks(files: Sequence[RpmFile]) -> dict[tuple[int, int], list[int]]:
    """Return the numbers of the files of each inode."""
    numbers: dict[tuple[int, int], list[int]] = {}
    for number, file in enumerate(files):
        if stat.S_ISREG(file.mode) and not file.is_ghost:
            numbers.setdefault(file.identity, []).append(number)
    return numbers


def _read_stripped_member(
    header: bytes, at: int, files: Sequence[RpmFile],
    links: Mapping[tuple[int, int], Sequence[int]],
) -> _CpioMember | None:  # fmt: skip
    """Return the member with a stripped header; None if it is invalid.

    Of hard links, only the last one has the bytes.
    """
    digits = header[len(CPIO_STRIPPED_MAGIC) : CPIO_STRIPPED_SIZE]
    is_number = len(digits) == CPIO_DIGITS and HEXADECIMAL.fullmatch(digits) is not None
    number = int(digits, 16) if is_number else len(files)
    if number >= len(files):
        return None
    file = files[number]
    same = links.get(file.identity, ()) if stat.S_ISREG(file.mode) else ()
    is_last = stat.S_ISREG(file.mode) and (not same or number == same[-1])
    has_data = is_last or stat.S_ISLNK(file.mode)
    start = at + CPIO_STRIPPED_SIZE
    return _CpioMember(
        file.name, file.identity, file.mode, 0, 0, len(same), file.mtime, start + -start % 4,
        file.size if has_data else 0,
    )  # fmt: skip


def _parse_cpio_numbers(header: bytes) -> list[int]:
    """Return the numbers of a header, eight hexadecimal digits each; none if it is invalid."""
    digits = header[6:]
    # int() alone would accept signs, underscores, blanks and a prefix.
    if not HEXADECIMAL.fullmatch(digits):
        return []
    return [int(digits[at : at + 8], 16) for at in range(0, len(digits) - 7, 8)]


def _build_cpio_node(member: _CpioMember, fd: int, path: Path) -> Node:
    metadata = Metadata(stat.S_IMODE(member.mode), member.uid, member.gid, mtime=member.mtime)
    if stat.S_ISDIR(member.mode):
        return Directory(metadata)
    if stat.S_ISLNK(member.mode):
        if member.size > MAX_NAME:
            raise BundleFixError(
                f"the target of the symlink {member.name!r} is longer than {MAX_NAME} bytes",
                where=str(path), hint=UNTRUSTED,
            )  # fmt: skip
        return Symlink(os.fsdecode(os.pread(fd, member.size, member.start)), metadata)
    if stat.S_ISREG(member.mode):
        return File(FileSlice(fd, member.start, member.size), metadata)
    return Special("device, fifo or socket", metadata)
