"""The platforms of wheels: what manylinux and musllinux tags allow (PEP 600 and 656).

platforms.json contains the policies that auditwheel publishes, with its version.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache

import msgspec
from msgspec import Struct

from bundle_fix.elf.read.notes import read_isa_level
from bundle_fix.elf.symbols.symbol_table import read_undefined_symbols
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.libc import LOADER_NAME, MUSL_LIBC_NAME, Libc, is_part_of_libc
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.wording import format_count

ARCHITECTURES = {
    (32, "little", 3): "i686", (64, "little", 62): "x86_64", (32, "little", 40): "armv7l",
    (64, "little", 183): "aarch64", (64, "little", 21): "ppc64le", (64, "big", 21): "ppc64",
    (64, "big", 22): "s390x", (64, "little", 243): "riscv64", (64, "little", 258): "loongarch64",
}  # fmt: skip
"""The architecture in a tag, by class, byte order and machine of an ELF file (gABI, e_machine)."""
KINDS = {Libc.GLIBC: "manylinux", Libc.MUSL: "musllinux"}
HWCAPS_LEVEL = re.compile(r"(?:^|/)glibc-hwcaps/x86-64-v[2-4]/")
"""A directory that the loader only searches on processors of that level (ld.so(8))."""


class Platform(Struct, frozen=True):
    """One platform for one architecture.

    Attributes:
        name: the tag, such as ``manylinux_2_17_x86_64``.
        aliases: older names of the tag, such as ``manylinux2014_x86_64``.
        libraries: sonames of the libraries that every target has.
        forbidden: for a library, symbols that some target's copy does not export.
        versions: the allowed symbol versions of each family: ``GLIBC`` to ``2.17`` and others.
    """

    name: str
    aliases: tuple[str, ...]
    libraries: frozenset[str]
    forbidden: Mapping[str, frozenset[str]]
    versions: Mapping[str, frozenset[str]]

    @property
    def tags(self) -> tuple[str, ...]:
        """All names of the platform."""
        return (self.name, *self.aliases)

    def allows_library(self, name: str) -> bool:
        """Return whether a wheel may leave the library ``name`` to the target."""
        is_musl = "libc.so" in self.libraries and MUSL_LIBC_NAME.fullmatch(name) is not None
        return name in self.libraries or is_musl or LOADER_NAME.fullmatch(name) is not None

    def allows_version(self, version: str) -> bool:
        """Return whether a file may require a symbol version; those of other families may."""
        family, _, number = version.partition("_")
        return family not in self.versions or number in self.versions[family]


class _Policy(Struct, frozen=True):
    """A policy of platforms.json: what it adds to those before it, and its forbidden symbols."""

    name: str
    aliases: tuple[str, ...]
    libraries: frozenset[str]
    forbidden: dict[str, frozenset[str]]
    versions: dict[str, dict[str, frozenset[str]]]


class _Policies(Struct, frozen=True):
    """The contents of platforms.json; the oldest policy of each C library comes first."""

    source: str
    manylinux: tuple[_Policy, ...]
    musllinux: tuple[_Policy, ...]


@cache
def _read_policies() -> _Policies:
    from importlib.resources import files

    data = files(__package__).joinpath("platforms.json").read_bytes()
    return msgspec.json.decode(data, type=_Policies)


def read_source() -> str:
    """Return the program and the version from which the policies are."""
    return _read_policies().source


def list_platforms(libc: Libc, architecture: str) -> tuple[Platform, ...]:
    """Return the platforms of an architecture, such as ``x86_64``: the oldest target first."""
    policies = _read_policies()
    libraries: frozenset[str] = frozenset()
    versions: dict[str, frozenset[str]] = {}
    found = []
    for policy in policies.musllinux if libc is Libc.MUSL else policies.manylinux:
        libraries |= policy.libraries
        if architecture not in policy.versions:
            continue
        for family, new in policy.versions[architecture].items():
            versions[family] = versions.get(family, frozenset()) | new
        found.append(
            Platform(
                f"{policy.name}_{architecture}",
                tuple(f"{alias}_{architecture}" for alias in policy.aliases),
                libraries,
                policy.forbidden,
                dict(versions),
            )
        )
    return tuple(found)


class Requirements(Struct, frozen=True):
    """What the objects of a wheel require of a target.

    Attributes:
        external: the needed names that the wheel does not provide, with an object that needs each.
        versions: the required symbol versions, with an object that requires each.
        symbols: the undefined symbols of the objects that need a library, by its soname.
        levels: the objects that need a newer processor than the first ones, with the level.
    """

    external: Mapping[str, str]
    versions: Mapping[str, str]
    symbols: Mapping[str, Mapping[str, str]]
    levels: Mapping[str, int]


def read_requirements(
    bundle: Bundle, paths: Collection[str], watched: Collection[str]
) -> Requirements:
    """Read what the objects at ``paths`` require.

    Args:
        bundle: the wheel with its bundled libraries; its contents must be open.
        paths: the objects.
        watched: sonames of libraries whose used symbols are read.
    """
    external: dict[str, str] = {}
    versions: dict[str, str] = {}
    symbols: dict[str, dict[str, str]] = {}
    levels: dict[str, int] = {}
    for path in paths:
        image = bundle.images[path]
        for name in image.needed:
            if "/" not in name and not bundle.find_providers(name, image):
                external.setdefault(name, path)
        with bundle.get_content(path).open() as reader:
            for library, names in read_needed_versions(reader, image).items():
                if not LOADER_NAME.fullmatch(library):
                    versions |= {name: path for name in names if name not in versions}
            for library in set(image.needed) & set(watched):
                used = (s for s in read_undefined_symbols(reader, image) if not s.weak)
                symbols.setdefault(library, {}).update(
                    {s.name.decode("latin-1"): path for s in used}
                )
            level = read_isa_level(reader, image) if image.machine == "x86_64" else 0
        if level > 1 and not HWCAPS_LEVEL.search(path):
            levels[path] = level
    return Requirements(external, versions, symbols, levels)


def find_obstacles(
    platform: Platform, requirements: Requirements, provided: Collection[str] = ()
) -> Iterator[str]:
    """Yield the reasons why a wheel cannot have the tag of ``platform``, as phrases.

    Args:
        platform: the platform.
        requirements: what the wheel requires with the libraries that it would bundle.
        provided: patterns of further libraries that the user expects on the target.
    """
    for name, path in requirements.external.items():
        if not platform.allows_library(name) and not matches_any(name, provided):
            reason = ", a part of the C library" if is_part_of_libc(name) else ""
            yield f"{path} needs {name}{reason}"
    newer = {v: p for v, p in requirements.versions.items() if not platform.allows_version(v)}
    for version, path in sorted(newer.items())[:1]:
        more = f" and {format_count(len(newer) - 1, 'other version')}" if len(newer) > 1 else ""
        yield f"{path} requires {version}{more}"
    for library, forbidden in platform.forbidden.items():
        used = requirements.symbols.get(library, {})
        for symbol in sorted(forbidden & used.keys())[:1]:
            yield f"{used[symbol]} uses {symbol} of {library}"
    for path, level in requirements.levels.items():
        yield f"{path} is marked as needing x86-64-v{level}"
