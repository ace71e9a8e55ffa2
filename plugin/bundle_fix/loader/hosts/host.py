"""What the target machine offers the loader: its files, its loader, its cache, its environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import get_cpu_of_level
from bundle_fix.loader.hosts.files import HostFiles
from bundle_fix.loader.hosts.libc import COMMON_LIBRARIES, is_installed_with_libc
from bundle_fix.loader.hosts.rtld import (
    Loader,
    guess_loader,
)
from bundle_fix.loader.hosts.view import UNKNOWN_PLACE, View


class Environment(Struct, frozen=True):
    """What a process is started with.

    Attributes:
        library_path: ``LD_LIBRARY_PATH``.
        preload: ``LD_PRELOAD``.
        working_directory: the working directory; None where that is not known.
        hostile: whether ``LD_LIBRARY_PATH`` has every library.
    """

    library_path: str = ""
    preload: str = ""
    working_directory: str | None = None
    hostile: bool = False


EMPTY_ENVIRONMENT = Environment()
"""An environment that says nothing to the loader."""


class CachedLibrary(NamedTuple):
    """A library that the cache lists, and what listed it: the cache, or ld.so.conf."""

    path: str
    source: str


class Host(Protocol):
    """The target, as the loader sees it."""

    @property
    def files(self) -> HostFiles | None:
        """Its files; None where nothing is known of them, and every library must be feared."""

    @property
    def pack_path(self) -> str:
        """Where the pack is unpacked on it."""

    @property
    def level(self) -> str | None:
        """Its processor's level, where somebody said it."""

    def is_expected(self, name: str) -> bool:
        """Whether a pack may count on it for ``name``, whatever its files are."""

    def is_common(self, name: str) -> bool:
        """Whether nearly every host has ``name``, though nobody said that this one must."""

    def find_loader(self, view: View, image: Image) -> Loader:
        """The loader of the program ``image``."""

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """What its ld.so.cache has of ``name``."""

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """The names in its ld.so.preload."""


class AdversarialHost(Struct, frozen=True):
    """A host that offers every soname in its default directories, each older than the pack's.

    ``provides`` are patterns of names that the pack may rely on it for, besides the C library's;
    ``level`` is its processor's (see `bundle_fix.loader.hosts.cpu`), the oldest unless told.
    """

    provides: tuple[str, ...] = ()
    level: str | None = None
    files: HostFiles | None = None
    pack_path: str = UNKNOWN_PLACE

    def is_expected(self, name: str) -> bool:
        """See `Host`."""
        return is_installed_with_libc(name) or any(fnmatchcase(name, p) for p in self.provides)

    def is_common(self, name: str) -> bool:
        """See `Host`."""
        return name in COMMON_LIBRARIES

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`; nobody knows what is built into it."""
        return guess_loader(image, get_cpu_of_level(self.level, image.machine).levels)

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`."""
        return iter(())

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`."""
        return ()


def build_adversarial_host(provides: Iterable[str] = ()) -> AdversarialHost:
    """The default host of every check."""
    return AdversarialHost(tuple(provides))
