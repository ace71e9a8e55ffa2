"""The host of a distribution package: a root file system on which the package is installed.

Only the files of the package are known. Every other library is expected to come from the packages
that it depends on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import get_cpu_of_level
from bundle_fix.loader.hosts.files import TreeFiles
from bundle_fix.loader.hosts.host import LD_CONF, CachedLibrary
from bundle_fix.loader.hosts.ld_conf import read_ld_conf, simulate_ldconfig
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.hosts.rtld import Loader, guess_loader, is_default_directory
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.tree import Tree

CONF_DIRECTORY = "etc/ld.so.conf.d/"


class PackageHost(Struct, frozen=True, eq=False, dict=True):
    """The root file system on which a package is installed.

    Attributes:
        tree: the package.
        provides: patterns of names; not used, as every name that the package lacks is expected.
        level: the level of its processor; None for the oldest.
        pack_path: the directory in which the package is installed.
    """

    tree: Tree
    provides: tuple[str, ...] = ()
    level: str | None = None
    pack_path: str = "/"
    _ldconfig_paths: list[Mapping[str, tuple[str, ...]]] = field(default_factory=list)
    """The result of `simulate_ldconfig`, once it is known."""

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(map(posixpath.basename, self.tree.nodes))

    @property
    def files(self) -> TreeFiles:
        """See `Host`; only the files of the package are known."""
        return TreeFiles(self.tree)

    def is_expected(self, name: str, libc: Libc) -> bool:
        """See `Host`."""
        return posixpath.basename(name) not in self._names

    def is_common(self, name: str, libc: Libc) -> bool:
        """See `Host`."""
        return False

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`; the default directories include multiarch directories of the package."""
        levels = get_cpu_of_level(self.level, image.machine).levels
        loader = guess_loader(image, view.bundle.guess_libc(image), levels)
        own = sorted(f"/{path}" for path in self.tree.directories if is_default_directory(path))
        return replace(loader, defaults=tuple(dict.fromkeys([*loader.defaults, *own])))

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`; ldconfig reads the files of the package in ld.so.conf.d."""
        if not self._ldconfig_paths:
            files = [f"/{path}" for path in self.tree.nodes if path.startswith(CONF_DIRECTORY)]
            self._ldconfig_paths.append(simulate_ldconfig(view, read_ld_conf(view, files)))
        for path in self._ldconfig_paths[0].get(name, ()):
            yield CachedLibrary(path, LD_CONF)

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`."""
        return ()
