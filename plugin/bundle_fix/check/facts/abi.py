"""The requirements of a pack on its target: symbol versions and processor levels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from bundle_fix.archive.wheel import read_platform_tags
from bundle_fix.check.context import Context
from bundle_fix.elf.read.notes import read_isa_level
from bundle_fix.loader.hosts.libc import Libc, parse_version

VERSION_NAME = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d+(?:\.\d+)*)")
GLIBC_PRIVATE = "GLIBC_PRIVATE"
ABI_VERSIONS = {
    "GLIBC_ABI_DT_RELR": (2, 36), "GLIBC_ABI_GNU2_TLS": (2, 42), "GLIBC_ABI_GNU_TLS": (2, 42),
}  # fmt: skip
"""Versions without a number that require a feature of the loader, and the glibc that added it.

Source: glibc's NEWS for 2.36 and 2.42.
"""

VersionNumber = tuple[int, ...]


class NewestVersion(Struct, frozen=True):
    """The newest version of a family that a pack requires, and a file that requires it."""

    version: str
    """Such as ``2.34``."""
    path: str


class Abi(Struct, frozen=True):
    """The requirements of a pack on its target.

    Attributes:
        versions: the newest version of each family (``GLIBC``, ``GLIBCXX``, ``CXXABI``, ``GCC``).
        files: for each file with such requirements, the newest version of each family.
        levels: for each file that is marked as needing a newer processor than the first x86-64,
            the level, such as ``x86-64-v3``.
        musl: whether it has files that musl loads, which ignores symbol versions.
    """

    versions: Mapping[str, NewestVersion]
    files: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, str]
    musl: bool = False


def parse_glibc_version(version: str) -> VersionNumber | None:
    """Parse a version of glibc: ``GLIBC_2.17`` gives (2, 17).

    Other versions give None, also ``GLIBC_PRIVATE``.
    """
    match = VERSION_NAME.fullmatch(version)
    if match and match[1] == "GLIBC":
        return parse_version(match[2])
    return ABI_VERSIONS.get(version)


class GlibcBaseline(Struct, frozen=True):
    """The newest glibc that the files of a pack may require.

    Attributes:
        version: such as (2, 17); empty if the target has no glibc at all.
        source: the policy or the tag of the wheel, as a phrase.
    """

    version: VersionNumber
    source: str


LEGACY_TAGS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""The glibc of the tags before manylinux_X_Y (PEP 513, 571 and 599)."""
TAG = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_\w+|(manylinux(?:1|2010|2014))_\w+")
"""The tags of PEP 600 (glibc X.Y) and PEP 656 (musl X.Y), and their predecessors."""


def find_glibc_baseline(context: Context) -> GlibcBaseline | None:
    """Return the baseline of the policy, or else that of the wheel's tags; None if there is none.

    An installer accepts a wheel for any of its tags, so the oldest glibc of them counts.
    """
    if context.policy.glibc:
        text = f"the baseline glibc {context.policy.glibc}"
        return GlibcBaseline(parse_version(context.policy.glibc), text)
    if context.policy.trust_wheel_tag:
        return None
    found: list[GlibcBaseline] = []
    for tag in read_platform_tags(context.bundle.tree):
        match = TAG.fullmatch(tag)
        if match is None:
            return None
        version: VersionNumber = LEGACY_TAGS.get(match[4], ())
        if match[1] == "manylinux":
            version = (int(match[2]), int(match[3]))
        text = ".".join(map(str, version))
        found.append(GlibcBaseline(version, f"the wheel's tag {tag} (glibc {text or 'none'})"))
    return min(found, key=lambda baseline: baseline.version, default=None)


def read_abi(context: Context) -> Abi:
    """Return the requirements of all files of a pack."""
    files: dict[str, Mapping[str, str]] = {}
    newest: dict[str, NewestVersion] = {}
    musl = False
    for path in context.iter_dynamic_files():
        if context.get_libc(path) is Libc.MUSL:
            musl = True
            continue
        needed = context.facts.read_needed_versions(path).values()
        by_family = _find_newest(version for versions in needed for version in versions)
        if by_family:
            files[path] = by_family
        for family, version in by_family.items():
            known = newest.get(family)
            if known is None or parse_version(version) > parse_version(known.version):
                newest[family] = NewestVersion(version, path)
    levels = {path: f"x86-64-v{level}" for path, level in find_isa_levels(context).items()}
    return Abi({family: newest[family] for family in sorted(newest)}, files, levels, musl)


def _find_newest(versions: Iterable[str]) -> dict[str, str]:
    """Return the newest version of each family."""
    newest: dict[str, str] = {}
    for version in versions:
        match = VERSION_NAME.fullmatch(version)
        if match and parse_version(match[2]) > parse_version(newest.get(match[1], "0")):
            newest[match[1]] = match[2]
    return dict(sorted(newest.items()))


def find_isa_levels(context: Context) -> Mapping[str, int]:
    """Return the x86-64 level (2 to 4) of each file that is marked as needing more than level 1."""
    images = context.bundle.images
    paths = (path for path in context.iter_dynamic_files() if images[path].machine == "x86_64")
    levels = {path: context.facts.read_fact(path, read_isa_level) for path in paths}
    return {path: level for path, level in levels.items() if level > 1}
