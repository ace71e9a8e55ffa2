"""The host of a distribution's package: installed at the root, beside packages nobody has seen.

What the package has is where it is installed, in the default directories or elsewhere; what it
does not have, the packages that it depends on do.
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
from bundle_fix.loader.hosts.host import CachedLibrary
from bundle_fix.loader.hosts.ld_conf import read_ld_conf, simulate_ldconfig
from bundle_fix.loader.hosts.rtld import Loader, guess_loader, is_default_directory
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.tree import Tree

CONF_DIRECTORY = "etc/ld.so.conf.d/"


class PackageHost(Struct, frozen=True, eq=False, dict=True):
    """The root that a package is installed at.

    Attributes:
        tree: the package.
        provides: patterns of names; everything that the package lacks is expected anyway.
        level: its processor's level, the oldest unless told.
    """

    tree: Tree
    provides: tuple[str, ...] = ()
    level: str | None = None
    pack_path: str = "/"
    _listed: list[Mapping[str, tuple[str, ...]]] = field(default_factory=list)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(map(posixpath.basename, self.tree.nodes))

    @property
    def files(self) -> TreeFiles:
        """See `Host`: the package's own are all that is known."""
        return TreeFiles(self.tree)

    def is_expected(self, name: str) -> bool:
        """See `Host`."""
        return posixpath.basename(name) not in self._names

    def is_common(self, name: str) -> bool:
        """See `Host`."""
        return False

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`: with the multiarch directories that the package knows of."""
        loader = guess_loader(image, get_cpu_of_level(self.level, image.machine).levels)
        folders = sorted(f"/{f}" for f in self.tree.directories if is_default_directory(f))
        return replace(loader, defaults=tuple(dict.fromkeys([*loader.defaults, *folders])))

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`: what ldconfig lists for the package's own files in ld.so.conf.d."""
        if not self._listed:
            files = [f"/{path}" for path in self.tree.nodes if path.startswith(CONF_DIRECTORY)]
            self._listed.append(simulate_ldconfig(view, read_ld_conf(view, files)))
        for path in self._listed[0].get(name, ()):
            yield CachedLibrary(path, "ld.so.conf")

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`."""
        return ()
