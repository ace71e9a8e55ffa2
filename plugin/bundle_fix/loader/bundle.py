"""A bundle: a tree with the images of its ELF files, indexed by path and by name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from msgspec import Struct, field

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_from
from bundle_fix.elf.read.target import find_foreign_system
from bundle_fix.model.content import Content, has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Tree, resolve_path

MAX_ENTRIES = 4_000_000
"""Program headers and dynamic entries of all ELF files together; a large file has a hundred."""
MAX_TEXT = 64 << 20
"""Characters of the names that all ELF files need, and of their search paths."""


class Bundle(Struct, frozen=True):
    """A tree with its ELF files read and indexed.

    Attributes:
        tree: the files of the pack.
        images: every ELF file by its path.
        paths_by_name: for every file name that leads to a shared object, directly or by
            symlinks, the files it leads to.
        foreign_systems: the ELF files of other systems, which are in neither, and the system.
    """

    tree: Tree
    images: Mapping[str, Image]
    paths_by_name: Mapping[str, tuple[str, ...]]
    foreign_systems: Mapping[str, str] = field(default_factory=dict)

    def list_programs(self) -> list[str]:
        """The paths of all programs, in the tree's order."""
        return [path for path, image in self.images.items() if image.is_program]

    def list_libraries(self) -> list[str]:
        """The paths of all shared libraries, in the tree's order."""
        return [path for path, image in self.images.items() if image.is_library]

    def find_providers(self, name: str, like: Image) -> tuple[str, ...]:
        """The files that could satisfy ``name`` for ``like``: named so, or with that soname."""
        return tuple(
            path
            for path in self.paths_by_name.get(name, ())
            if self.images[path].architecture == like.architecture
        )

    def get_content(self, path: str) -> Content:
        """The bytes of the ELF file at ``path``, one of ``images``."""
        node = self.tree.nodes[path]
        assert isinstance(node, File)  # noqa: S101 (images are of files alone)
        return node.content

    def have_same_bytes(self, one: str, other: str) -> bool:
        """Whether two ELF files hold the same bytes."""
        return has_same_bytes(self.get_content(one), self.get_content(other))


def read_bundle(tree: Tree, where: str) -> Bundle:
    """Read the image of every ELF file in ``tree``.

    Args:
        tree: its contents must be open.
        where: the artifact's name, for messages.

    Raises:
        BundleFixError: an ELF file in it is damaged or cannot be read.
    """
    images: dict[str, Image] = {}
    foreign: dict[str, str] = {}
    entries, text = MAX_ENTRIES, MAX_TEXT
    for path, file in tree.iter_files():
        if file.content.size < 4:
            continue
        place = f"{where}: {path}" if path != posixpath.basename(where) else where
        with file.content.open() as reader:
            image = read_image_from(reader, place)
            if image is None:
                continue
            system = find_foreign_system(reader, image)
        if system is None:
            images[path] = image
        else:
            foreign[path] = system
        entries -= len(image.segments) + len(image.dynamic or ())
        text -= sum(map(len, (*image.needed, image.rpath or "", image.runpath or "")))
        if entries < 0 or text < 0:
            raise BundleFixError(
                "its ELF files have more headers and names than any honest ones", where=where,
                hint="an archive like this one must not be trusted",
            )  # fmt: skip
    return make_bundle(tree, images, foreign)


def make_bundle(
    tree: Tree, images: Mapping[str, Image], foreign: Mapping[str, str] | None = None
) -> Bundle:
    """A bundle of a tree and images that are known already."""
    named: dict[str, dict[str, None]] = {}
    for path, image in images.items():
        if image.is_library:
            named.setdefault(posixpath.basename(path), {})[path] = None
            if image.soname:
                named.setdefault(posixpath.basename(image.soname), {})[path] = None
    for path, _ in tree.iter_symlinks():
        target = resolve_path(tree, path)
        if isinstance(target, str) and target in images and images[target].is_library:
            named.setdefault(posixpath.basename(path), {})[target] = None
    paths = {name: tuple(found) for name, found in named.items()}
    return Bundle(tree, images, paths, foreign or {})
