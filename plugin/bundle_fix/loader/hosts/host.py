"""A target host, as the loader sees it: its files, its loader, its cache, the environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import get_cpu_of_level
from bundle_fix.loader.hosts.files import HostFiles
from bundle_fix.loader.hosts.libc import (
    COMMON_LIBRARIES,
    OPTIONAL_LIBRARIES,
    Libc,
    is_installed_with_libc,
)
from bundle_fix.loader.hosts.rtld import (
    Loader,
    guess_loader,
)
from bundle_fix.loader.hosts.view import UNKNOWN_PLACE, View
from bundle_fix.model.library_names import matches_any


class Environment(Struct, frozen=True):
    """The environment of a process, as far as the loader reads it.

    Attributes:
        library_path: ``LD_LIBRARY_PATH``.
        preload: ``LD_PRELOAD``.
        working_directory: the working directory; None if unknown.
        hostile: whether a directory of ``LD_LIBRARY_PATH`` has a copy of every library.
    """

    library_path: str = ""
    preload: str = ""
    working_directory: str | None = None
    hostile: bool = False


EMPTY_ENVIRONMENT = Environment()
"""An environment without variables of the loader."""


LD_CACHE, LD_CONF = "ld.so.cache", "ld.so.conf"


class CachedLibrary(NamedTuple):
    """A library that the cache lists; ``source`` is the file that lists it.

    It is `LD_CONF` if there is no cache yet, but ldconfig would write one.
    """

    path: str
    source: str


class Host(Protocol):
    """A target, as the loader sees it."""

    @property
    def files(self) -> HostFiles | None:
        """Its files; None if they are unknown: it may then have a copy of any library."""

    @property
    def pack_path(self) -> str:
        """The directory in which the pack is unpacked."""

    @property
    def level(self) -> str | None:
        """The level of its processor; None if the user did not give one."""

    def is_expected(self, name: str, libc: Libc) -> bool:
        """Return whether a process of ``libc`` may rely on the host for the library ``name``."""

    def is_common(self, name: str, libc: Libc) -> bool:
        """Return whether most hosts have ``name``, although this one need not have it."""

    def find_loader(self, view: View, image: Image) -> Loader:
        """Return the loader of the program ``image``."""

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """Yield the entries of its ld.so.cache for ``name``."""

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """Return the names in its ld.so.preload."""


class AdversarialHost(Struct, frozen=True):
    """A host that has every library in its default directories, each older than the pack's.

    Attributes:
        provides: patterns of names that it must have, in addition to the C library.
        level: the level of its processor (see `bundle_fix.loader.hosts.cpu`); None for the oldest.
        files: None, as any file may exist.
        pack_path: the directory in which the pack is unpacked, which is unknown.
    """

    provides: tuple[str, ...] = ()
    level: str | None = None
    files: HostFiles | None = None
    pack_path: str = UNKNOWN_PLACE

    def is_expected(self, name: str, libc: Libc) -> bool:
        """See `Host`."""
        return is_installed_with_libc(name, libc) or matches_any(name, self.provides)

    def is_common(self, name: str, libc: Libc) -> bool:
        """See `Host`."""
        return name in COMMON_LIBRARIES or (libc is Libc.GLIBC and name in OPTIONAL_LIBRARIES)

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`; the directories that its loader was built with are unknown."""
        levels = get_cpu_of_level(self.level, image.machine).levels
        return guess_loader(image, view.bundle.guess_libc(image), levels)

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`."""
        return iter(())

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`."""
        return ()


def build_adversarial_host(provides: Iterable[str] = ()) -> AdversarialHost:
    """Return the host that checks assume by default."""
    return AdversarialHost(tuple(provides))
