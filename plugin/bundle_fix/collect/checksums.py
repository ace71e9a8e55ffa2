"""The checksum that a spec demands of a file, by machine where it says so."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.suggestions import format_words
from bundle_fix.spec.variables import Values


def verify(
    found: Sequence[Path], checksum: str | Mapping[str, str], values: Values, where: str
) -> None:
    """Compare the file that an entry finds with its checksum.

    Args:
        found: what its ``from`` finds.
        checksum: ``md5:…``, ``sha256:…`` or ``sha512:…``; or one for each machine.
        values: the spec's variables: one that is the machine's name may have been set by ``-D``.
        where: where the checksum stands in the spec.

    Raises:
        BundleFixError: the file has another checksum, there are several files, or there is no
            checksum for this machine.
    """
    if len(found) > 1 or any(path.is_dir() for path in found):
        raise BundleFixError(
            f"a checksum is of one file, but `from` finds {len(found)} files or a folder",
            where=where,
            hint="give the file an entry of its own",
        )
    expected, of_machine = _chosen(checksum, values, where)
    kind, _, digest = expected.partition(":")
    for path in found:
        with path.open("rb") as file:
            actual = _digest(file.fileno(), kind)
        if actual != digest:
            raise BundleFixError(
                f"{path} has the checksum {kind}:{actual}, not {expected}{of_machine}",
                where=where,
                hint="get the right file, or correct the checksum",
            )


def _chosen(checksum: str | Mapping[str, str], values: Values, where: str) -> tuple[str, str]:
    """The checksum for this machine, and the words that name the machine."""
    if isinstance(checksum, str):
        return checksum, ""
    named = [name for name, v in values.spec.variables.items() if v.builtin == "arch"]
    machine = values[named[0]] if named else os.uname().machine
    if machine not in checksum:
        raise BundleFixError(
            f"there is no checksum for the machine {machine}",
            where=where,
            hint=f"add it to {format_words(checksum)}",
        )
    return checksum[machine], f" as for {machine}"


def _digest(descriptor: int, kind: str) -> str:
    made = hashlib.new(kind, usedforsecurity=False)
    while piece := os.read(descriptor, 1 << 20):
        made.update(piece)
    return made.hexdigest()
