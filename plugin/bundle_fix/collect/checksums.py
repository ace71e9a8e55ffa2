"""Verification of the checksum that a spec requires of a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.suggestions import format_words
from bundle_fix.spec.variables import Values


def verify_checksum(
    found: Sequence[Path], checksum: str | Mapping[str, str], values: Values, where: str
) -> None:
    """Compare the file that an entry finds with its checksum.

    Args:
        found: the paths that its ``from`` matches.
        checksum: ``md5:…``, ``sha256:…`` or ``sha512:…``; or one for each machine.
        values: the spec's variables; ``-D`` may override the one that contains the machine.
        where: the position of the checksum in the spec.

    Raises:
        BundleFixError: the file has another checksum, there are several files, or there is no
            checksum for this machine.
    """
    if len(found) > 1 or any(path.is_dir() for path in found):
        raise BundleFixError(
            f"`checksum` requires one file, but `from` matches {len(found)} files or a directory",
            where=where,
            hint="write a separate entry for the file",
        )
    expected, for_machine = _select_checksum(checksum, values, where)
    kind, _, digest = expected.partition(":")
    for path in found:
        with path.open("rb") as file:
            actual = _compute_digest(file.fileno(), kind)
        if actual != digest:
            raise BundleFixError(
                f"{path}: checksum mismatch: {kind}:{actual} instead of {expected}{for_machine}",
                where=where,
                hint="use the right file, or correct the checksum",
            )


def _select_checksum(
    checksum: str | Mapping[str, str], values: Values, where: str
) -> tuple[str, str]:
    """Return the checksum for this machine, and a phrase that names the machine in an error."""
    if isinstance(checksum, str):
        return checksum, ""
    # A cross build sets the variable of `builtin = "arch"` to the target with -D.
    names = [name for name, v in values.spec.variables.items() if v.builtin == "arch"]
    machine = values[names[0]] if names else os.uname().machine
    if machine not in checksum:
        raise BundleFixError(
            f"missing checksum for the machine {machine}",
            where=where,
            hint=f"add it to {format_words(checksum)}",
        )
    return checksum[machine], f" for {machine}"


def _compute_digest(descriptor: int, kind: str) -> str:
    # usedforsecurity: Python in FIPS mode refuses md5 otherwise.
    digest = hashlib.new(kind, usedforsecurity=False)
    while chunk := os.read(descriptor, 1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
