"""The artifacts on the command line of ``check``, and those in a list on stdin."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from bundle_fix.archive.formats import is_archive_start
from bundle_fix.archive.limits import format_size
from bundle_fix.archive.tar.extensions import BLOCK
from bundle_fix.archive.tar.fields import has_valid_checksum
from bundle_fix.elf.read.parser import MAGIC as ELF_MAGIC
from bundle_fix.model.errors import BundleFixError

STDIN = Path("-")
LARGEST_LIST = 64 << 20
"""Bytes of a list of artifacts."""


def list_artifacts(artifacts: tuple[Path, ...]) -> list[Path]:
    """Return the artifacts; ``-`` stands for those on stdin, one per line or NUL-terminated.

    Raises:
        BundleFixError: The list is empty.
    """
    paths: list[Path] = []
    for artifact in artifacts:
        if artifact == STDIN:
            paths += _read_path_list(sys.stdin.buffer)
        else:
            paths.append(artifact)
    if not paths:
        raise BundleFixError(
            "the list of artifacts is empty", where="stdin", hint="give at least one path"
        )
    return paths


def _read_path_list(stream: IO[bytes]) -> list[Path]:
    """Return the paths that ``stream`` lists.

    Raises:
        BundleFixError: It is an artifact or longer than `LARGEST_LIST`.
    """
    data = stream.read(BLOCK)
    is_tar = len(data) == BLOCK and has_valid_checksum(data)
    if is_tar or is_archive_start(data) or data.startswith(ELF_MAGIC):
        raise BundleFixError(
            "this is an artifact, but '-' reads a list of paths", where="stdin",
            hint="write it to a file and give its path",
        )  # fmt: skip
    data += stream.read(LARGEST_LIST)
    if len(data) > LARGEST_LIST:
        raise BundleFixError(
            f"the list of artifacts is larger than {format_size(LARGEST_LIST)}", where="stdin",
            hint="split it, as 'xargs' does",
        )  # fmt: skip
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [Path(os.fsdecode(name)) for name in names if name.strip()]
