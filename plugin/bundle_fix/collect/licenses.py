"""Licence and copyright files of the packages that the pack's libraries come from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle_fix.collect.files import create_node
from bundle_fix.collect.libraries.packages import DEB, Package, run_query
from bundle_fix.collect.pack_builder import Origin, PackBuilder

DIRECTORY = "licenses"
COMMON = "common-licenses"
DOCUMENTS = Path("/usr/share/doc")
SHARED = Path("/usr/share/common-licenses")
"""Licence texts that Debian's copyright files refer to (Debian Policy, 12.5)."""
MAX_TEXT = 1 << 20
"""Bytes of a copyright file that are searched for references."""


def add_licenses(builder: PackBuilder, packages: Iterable[Package], where: str) -> list[str]:
    """Put the licence files of ``packages`` into ``licenses/``, in a directory for each package.

    Args:
        builder: the pack so far.
        packages: the packages that its libraries come from.
        where: the position in the spec of the key that requests them.

    Returns:
        Remarks on packages without a licence file on this machine.
    """
    remarks = []
    for package in sorted(set(packages), key=lambda p: (p.name, p.kind)):
        found = [path for path in _list_license_files(package) if path.is_file()]
        for path in found:
            _add_file(builder, f"{DIRECTORY}/{package.name}/{path.name}", path, where)
            for text in _find_common_licenses(path) if package.kind == DEB else ():
                _add_file(builder, f"{DIRECTORY}/{COMMON}/{text.name}", text, where)
        if not found:
            remarks.append(
                f"{where}: missing licence file of the package {package.name} on this machine"
            )
    return remarks


def _list_license_files(package: Package) -> list[Path]:
    if package.kind == DEB:
        return [DOCUMENTS / package.name / "copyright"]
    listed = run_query("rpm", "-q", "--licensefiles", "--", package.name)
    return [Path(line) for line in listed.splitlines() if line.startswith("/")]


def _find_common_licenses(path: Path) -> Iterator[Path]:
    """Yield the common licences that a copyright file refers to."""
    with path.open("rb") as file:
        text = os.fsdecode(file.read(MAX_TEXT))
    for name in sorted(set(re.findall(rf"{SHARED}/([\w+-]+(?:\.\d+)*)", text))):
        if (SHARED / name).is_file():
            yield SHARED / name


def _add_file(builder: PackBuilder, target: str, path: Path, where: str) -> None:
    real = path.resolve()
    builder.add_member(target, create_node(real, real, "644", where), Origin(real, where))
