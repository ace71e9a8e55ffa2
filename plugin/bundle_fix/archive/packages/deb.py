"""Debian packages: an ar archive with the package's files in a tarball (deb(5)). Only ever read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.formats import AR_MAGIC
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.packages.nested import open_nested_tar
from bundle_fix.model.content import FileSlice
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import InstallLocation, Tree

HEADER = 60
END = b"`\n"
FIRST = "debian-binary"
DATA = re.compile(r"data\.tar(\.\w+)?")
MAX_MEMBERS = 100
"""Members of a package; three are usual."""


@contextmanager
def read_deb(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The tree in the Debian package at ``path``, as it is installed.

    Raises:
        BundleFixError: it is no package, is damaged, or holds more than ``limits`` allow.
    """
    with path.open("rb") as file:
        members = _members(file.fileno(), path)
        if next(iter(members), "") != FIRST:
            raise BundleFixError(
                "it is an ar archive, but no Debian package", where=str(path),
                hint="static libraries need nothing at run time",
            )  # fmt: skip
        name = next((name for name in members if DATA.fullmatch(name)), None)
        if name is None:
            raise BundleFixError("the package has no data.tar", where=str(path), hint=AGAIN)
        with open_nested_tar(members[name], name, path, limits, progress) as tree:
            yield replace(tree, location=InstallLocation.BESIDE_OTHERS)


def _members(fd: int, path: Path) -> dict[str, FileSlice]:
    """The members of an ar archive: headers of text, each byte a printable one (ar(5))."""
    found: dict[str, FileSlice] = {}
    at, end = len(AR_MAGIC), os.fstat(fd).st_size
    while at < end and len(found) < MAX_MEMBERS:
        header = os.pread(fd, HEADER, at)
        size = header[48:58].strip()
        at += HEADER
        if not header.endswith(END) or not size.isdigit() or at + int(size) > end:
            raise BundleFixError(
                f"the package is cut short or damaged at byte {at - HEADER} of {end}",
                where=str(path), hint=AGAIN,
            )  # fmt: skip
        name = header[:16].decode("ascii", "replace").rstrip(" ").removesuffix("/")
        found.setdefault(name, FileSlice(fd, at, int(size)))
        at += int(size) + int(size) % 2
    return found
