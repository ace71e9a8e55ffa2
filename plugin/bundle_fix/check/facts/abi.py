"""What a pack wants of its target: the newest versions of symbols, and processors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.elf.read.notes import read_isa_level

FAMILY = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d+(?:\.\d+)*)")
PRIVATE = "GLIBC_PRIVATE"
MARKS = {"GLIBC_ABI_DT_RELR": (2, 36), "GLIBC_ABI_GNU2_TLS": (2, 42), "GLIBC_ABI_GNU_TLS": (2, 42)}
"""Versions without a number that say what the loader must know, and the glibc they came with."""

Number = tuple[int, ...]


class Newest(Struct, frozen=True):
    """The newest version of a family that a pack wants, such as ``2.34``, and who wants it."""

    version: str
    path: str


class Abi(Struct, frozen=True):
    """What a pack wants of its target.

    Attributes:
        versions: for each family (``GLIBC``, ``GLIBCXX``, ``CXXABI``, ``GCC``) the newest.
        files: for each file that wants any, the newest version by family.
        levels: for each file that is marked as needing more than every x86-64, the level.
    """

    versions: Mapping[str, Newest]
    files: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, str]


def glibc_number(version: str) -> Number | None:
    """``GLIBC_2.17`` as (2, 17); None for other versions, GLIBC_PRIVATE among them."""
    match = FAMILY.fullmatch(version)
    return version_number(match[2]) if match and match[1] == "GLIBC" else MARKS.get(version)


def version_number(text: str) -> Number:
    """``2.17`` as (2, 17)."""
    return tuple(int(part) for part in text.split("."))


def read_abi(context: Context) -> Abi:
    """What the pack wants of its target, file by file."""
    files: dict[str, Mapping[str, str]] = {}
    newest: dict[str, Newest] = {}
    for path in context.dynamic():
        wanted = context.symbols.wanted_versions(path).values()
        found = _newest(version for versions in wanted for version in versions)
        if found:
            files[path] = found
        for family, version in found.items():
            known = newest.get(family)
            if known is None or version_number(version) > version_number(known.version):
                newest[family] = Newest(version, path)
    order = sorted(newest)
    levels = {path: f"x86-64-v{level}" for path, level in isa_levels(context).items()}
    return Abi({family: newest[family] for family in order}, files, levels)


def _newest(versions: Iterable[str]) -> dict[str, str]:
    """The newest version of each family."""
    found: dict[str, str] = {}
    for version in versions:
        match = FAMILY.fullmatch(version)
        if match and version_number(match[2]) > version_number(found.get(match[1], "0")):
            found[match[1]] = match[2]
    return dict(sorted(found.items()))


def isa_levels(context: Context) -> Mapping[str, int]:
    """The files that are marked as needing more than every x86-64, and the level: 2 to 4."""
    images = context.bundle.images
    machine = (path for path in context.dynamic() if images[path].machine == "x86_64")
    levels = {path: context.symbols.read(path, read_isa_level) for path in machine}
    return {path: level for path, level in levels.items() if level > 1}
