"""The licence and copyright files of the packages that a pack's libraries come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle_fix.collect.collection import Collection, Origin
from bundle_fix.collect.files import node_at
from bundle_fix.collect.libraries.packages import DEB, Package, query

FOLDER = "licenses"
COMMON = "common-licenses"
DOCUMENTS = Path("/usr/share/doc")
SHARED = Path("/usr/share/common-licenses")
"""Where Debian keeps the texts of licences that many copyright files refer to (policy 12.5)."""
MAX_TEXT = 1 << 20
"""Bytes of a copyright file in which references are looked for."""


def add_licenses(collection: Collection, packages: Iterable[Package], where: str) -> list[str]:
    """Put the licence files of ``packages`` into ``licenses/``, in a folder for each package.

    Args:
        collection: the pack so far.
        packages: where its libraries come from.
        where: the place in the spec that asks for them.

    Returns:
        Remarks: packages of which this machine has no licence file.
    """
    remarks = []
    for package in sorted(set(packages), key=lambda p: (p.name, p.kind)):
        found = [path for path in _files_of(package) if path.is_file()]
        for path in found:
            _add(collection, f"{FOLDER}/{package.name}/{path.name}", path, where)
            for text in _referred(path) if package.kind == DEB else ():
                _add(collection, f"{FOLDER}/{COMMON}/{text.name}", text, where)
        if not found:
            remarks.append(f"{where}: this machine has no licence file of {package.name}")
    return remarks


def _files_of(package: Package) -> list[Path]:
    if package.kind == DEB:
        return [DOCUMENTS / package.name / "copyright"]
    listed = query("rpm", "-q", "--licensefiles", "--", package.name)
    return [Path(line) for line in listed.splitlines() if line.startswith("/")]


def _referred(path: Path) -> Iterator[Path]:
    """The common licences that a copyright file refers to."""
    with path.open("rb") as file:
        text = os.fsdecode(file.read(MAX_TEXT))
    for name in sorted(set(re.findall(rf"{SHARED}/([\w+-]+(?:\.\d+)*)", text))):
        if (SHARED / name).is_file():
            yield SHARED / name


def _add(collection: Collection, target: str, path: Path, where: str) -> None:
    real = path.resolve()
    collection.add(target, node_at(real, real, "644", where), Origin(real, where))
