"""Archives within archives: a package's tarball, an image's layers."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bundle_fix.archive.compression.spool import decompress_file
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.tar.reader import read_tar_file
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.storage.copy import copy_bytes

SHOWN = 12
"""Characters of a member's name that a step has: a layer's is a digest."""


@contextmanager
def open_nested_file(
    content: Content, name: str, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[IO[bytes]]:
    """What is in a compressed member of an artifact, as an open file.

    Args:
        content: the member.
        name: its name, for messages.
        path: the artifact.
        limits: how much may be in it.
        progress: is told how much of it is unpacked.

    Raises:
        BundleFixError: it is damaged, unpacks to more than ``limits`` allow, or there is no space.
    """
    try:
        # By a name of its own every reader can open it; nothing but this process sees that name.
        with tempfile.TemporaryFile(prefix="bundle-fix-") as copy:
            with content.open() as reader:
                copy_bytes(reader, copy.fileno(), name)
            place = Path(f"/proc/self/fd/{copy.fileno()}")
            shown = f"{path.name}: {posixpath.basename(name)[:SHOWN]}"
            with (
                _renamed(place, name, path),
                decompress_file(place, limits, progress, shown) as file,
            ):
                yield file
    except OSError as error:
        raise BundleFixError(
            f"cannot unpack {name}: {error.strerror or error}", where=str(path),
            hint="TMPDIR names another folder",
        ) from error  # fmt: skip


@contextmanager
def _renamed(place: Path, name: str, path: Path) -> Iterator[None]:
    """Errors about ``place`` told of the member that it is a copy of."""
    try:
        yield
    except BundleFixError as error:
        if error.where != str(place):
            raise
        raise BundleFixError(error.message, where=f"{path}: {name}", hint=error.hint) from error


@contextmanager
def open_nested_tar(
    content: Content, name: str, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The tree in a tarball that is a member of an artifact, to be unpacked at a root.

    Raises:
        BundleFixError: as `open_nested_file`, or it is no tarball.
    """
    with open_nested_file(content, name, path, limits, progress) as file:
        yield read_tar_file(file, path, limits, at_root=True)
