"""What the target machine offers the loader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bundle_fix.elf.image import Image
from bundle_fix.loader.libc import COMMON, comes_with_libc


@dataclass(frozen=True, slots=True)
class AdversarialHost:
    """A host that offers every soname in its default directories, each older than the pack's.

    ``provides`` are patterns of names that the pack may rely on it for, besides the C library's.
    """

    provides: tuple[str, ...] = ()

    def expected(self, name: str) -> bool:
        """Whether a pack may count on the host for ``name``."""
        return comes_with_libc(name) or any(fnmatchcase(name, p) for p in self.provides)

    def usual(self, name: str) -> bool:
        """Whether nearly every host has ``name``, though nobody said that this one must."""
        return name in COMMON


def adversarial_host(provides: Iterable[str] = ()) -> AdversarialHost:
    """The default host of every check."""
    return AdversarialHost(tuple(provides))


def default_directories(image: Image) -> tuple[str, ...]:
    """The directories that glibc searches last (ld.so(8), DEFAULT): 64-bit ABIs have lib64."""
    if image.format.bits == 64:
        return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
    return ("/lib", "/usr/lib")


def is_default_directory(directory: str) -> bool:
    """Whether an absolute directory is one that hosts search by default, multiarch included."""
    parts = directory.strip("/").split("/")
    if parts[:1] == ["usr"]:
        parts = parts[1:]
    if parts[:1] == ["local"]:
        parts = parts[1:]
    # Debian's multiarch tuples: x86_64-linux-gnu, arm-linux-gnueabihf, …
    multiarch = len(parts) == 2 and "-linux-" in parts[1]
    return parts[:1] in (["lib"], ["lib64"], ["lib32"], ["libx32"]) and (
        len(parts) == 1 or multiarch
    )
