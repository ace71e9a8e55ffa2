"""Reader of archives within artifacts: the tarball of a package, the layers of an image."""

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
from bundle_fix.model.errors import BundleFixError, build_os_error
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.storage.copy import copy_bytes

SHOWN_NAME_LENGTH = 12
"""Characters of a member's name in a progress step: the name of a layer is a long digest."""


@contextmanager
def open_nested_file(
    content: Content, name: str, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[IO[bytes]]:
    """Decompress a member of an artifact into a temporary file and open it.

    Args:
        content: the member.
        name: its name, for messages.
        path: the artifact.
        limits: the limits for its decompressed bytes.
        progress: receives how much of it is unpacked.

    Raises:
        BundleFixError: it is damaged, exceeds ``limits``, or the disk is full.
    """
    try:
        # decompress_file needs a path. The one in /proc leads to the unnamed copy.
        with tempfile.TemporaryFile(prefix="bundle-fix-") as copy:
            with content.open() as reader:
                copy_bytes(reader, copy.fileno(), name)
            copy_path = Path(f"/proc/self/fd/{copy.fileno()}")
            shown = f"{path.name}: {posixpath.basename(name)[:SHOWN_NAME_LENGTH]}"
            with (
                _name_member_in_errors(copy_path, name, path),
                decompress_file(copy_path, limits, progress, shown) as file,
            ):
                yield file
    except OSError as error:
        hint = "set TMPDIR to another directory"
        raise build_os_error(f"cannot unpack {name}", error, where=str(path), hint=hint) from error


@contextmanager
def _name_member_in_errors(copy_path: Path, name: str, path: Path) -> Iterator[None]:
    """Change errors about ``copy_path`` into errors about the member that it is a copy of."""
    try:
        yield
    except BundleFixError as error:
        if error.where != str(copy_path):
            raise
        raise BundleFixError(error.message, where=f"{path}: {name}", hint=error.hint) from error


@contextmanager
def open_nested_tar(
    content: Content, name: str, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Read a tarball that is a member of an artifact and is unpacked at the root.

    Raises:
        BundleFixError: see `open_nested_file` and `parse_tar`.
    """
    with open_nested_file(content, name, path, limits, progress) as file:
        yield read_tar_file(file, path, limits, at_root=True)
