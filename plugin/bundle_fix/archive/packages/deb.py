"""Reader of Debian packages: ar archives with the package's files in a tarball (deb(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from bundle_fix.archive.formats import AR_MAGIC
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.packages.nested import open_nested_tar
from bundle_fix.model.content import FileSlice, read_exactly
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import File, InstallLocation, Tree
from bundle_fix.storage.privileges import add_capabilities

HEADER_SIZE = 60
HEADER_END = b"`\n"
SIZE_FIELD = slice(48, 58)
FIRST_MEMBER = b"debian-binary"
DATA_MEMBER = re.compile(r"data\.tar(\.\w+)?")
CONTROL_MEMBER = re.compile(r"control\.tar(\.\w+)?")
DEPENDS = re.compile(r"^(?:Pre-)?Depends:((?:.*\n[ \t])*.*)", re.MULTILINE | re.IGNORECASE)
"""The fields of the packages that dpkg requires, with their continuation lines (deb-control(5))."""
SETCAP = re.compile(r"""\bsetcap\s+(?:-\w+\s+)*["']?([\w,=+-]+)["']?\s+["']?/([^\s"';|&)]+)""")
"""A call of setcap with the capabilities and the path of a file; other calls are not followed."""
MAX_CONTROL = 1 << 20
"""Bytes of the control file, and of the postinst script, that are read."""
MAX_MEMBERS = 100
"""Members of the ar archive that are read; a package usually has three."""


@contextmanager
def read_deb(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Read the tree that the Debian package at ``path`` installs.

    Raises:
        BundleFixError: it is not a Debian package, is damaged or exceeds ``limits``.
    """
    with path.open("rb") as file:
        if not file.read(len(AR_MAGIC) + HEADER_SIZE).startswith(FIRST_MEMBER, len(AR_MAGIC)):
            # Only Debian and linkers use ar archives (ar(1)).
            raise BundleFixError(
                "it is a static library (an ar archive), not a Debian package", where=str(path),
                hint="check the programs and libraries that were linked with it",
            )  # fmt: skip
        members = _read_ar_members(file.fileno(), path)
        name = next((name for name in members if DATA_MEMBER.fullmatch(name)), None)
        if name is None:
            raise BundleFixError("missing data.tar in the package", where=str(path), hint=AGAIN)
        control = _read_control(members, path, limits)
        with open_nested_tar(members[name], name, path, limits, progress) as tree:
            located = replace(
                tree, location=InstallLocation.BESIDE_OTHERS, requires=control.requires
            )
            yield add_capabilities(located, control.capabilities)


class _Control(NamedTuple):
    """What the control files of a package say about it.

    Attributes:
        requires: the names of the packages that it depends on, with alternatives.
        capabilities: the capabilities that the postinst script gives to files, by path. dpkg does
            not unpack extended attributes, so packages call setcap(8) in that script.
    """

    requires: tuple[str, ...] = ()
    capabilities: Mapping[str, str] = MappingProxyType({})


def _read_control(members: Mapping[str, FileSlice], path: Path, limits: Limits) -> _Control:
    name = next((name for name in members if CONTROL_MEMBER.fullmatch(name)), None)
    if name is None:
        return _Control()
    with open_nested_tar(members[name], name, path, limits) as tree:
        fields = DEPENDS.findall(_read_control_file(tree, "control"))
        calls = SETCAP.findall(_read_control_file(tree, "postinst"))
    found = (part.split() for field in fields for part in re.split(r"[,|]", field))
    requires = dict.fromkeys(words[0].partition(":")[0] for words in found if words)
    return _Control(tuple(requires), {file: capabilities for capabilities, file in calls})


def _read_control_file(tree: Tree, name: str) -> str:
    """Return the beginning of a control file; empty if it is missing."""
    file = tree.nodes.get(name)
    if not isinstance(file, File):
        return ""
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_CONTROL)) or b""
    return data.decode("utf-8", "replace")


def _read_ar_members(fd: int, path: Path) -> dict[str, FileSlice]:
    """Return the members of an ar archive (ar(5)), each with a text header of fixed size.

    Raises:
        BundleFixError: a header is invalid, or the archive is truncated.
    """
    members: dict[str, FileSlice] = {}
    at, end = len(AR_MAGIC), os.fstat(fd).st_size
    while at < end and len(members) < MAX_MEMBERS:
        header = os.pread(fd, HEADER_SIZE, at)
        size = header[SIZE_FIELD].strip()
        data = at + HEADER_SIZE
        if not header.endswith(HEADER_END) or not size.isdigit() or data + int(size) > end:
            raise BundleFixError(
                f"the package is truncated or damaged at byte {at} of {end}",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        # System V and GNU ar end a name with a slash.
        name = header[:16].decode("ascii", "replace").rstrip(" ").removesuffix("/")
        members.setdefault(name, FileSlice(fd, data, int(size)))
        at = data + int(size) + int(size) % 2
    return members
