"""A bundle: a tree with the images of its ELF files, indexed by path and by name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct, field

from bundle_fix.archive.wheel import read_platform_tags
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_from
from bundle_fix.elf.read.target import find_foreign_system
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.hosts.rtld import find_linked_libc
from bundle_fix.model.content import Content, has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Tree, resolve_path
from bundle_fix.storage.privileges import Privilege, find_privileges

MAX_ENTRIES = 4_000_000
"""Limit of the program headers and dynamic entries of all ELF files; a large file has 100."""
MAX_NAME_BYTES = 64 << 20
"""Limit of the needed names and search paths of all ELF files, in bytes."""


class Bundle(Struct, frozen=True, dict=True):
    """A tree with its ELF files read and indexed.

    Attributes:
        tree: the files of the pack.
        images: the image of every ELF file for Linux, by path.
        paths_by_name: for every soname and file name of a shared library, and every symlink to
            one, the paths of the libraries.
        foreign_systems: the system of each ELF file for another one, such as Android or BSD, by
            path. These files have no image.
    """

    tree: Tree
    images: Mapping[str, Image]
    paths_by_name: Mapping[str, tuple[str, ...]]
    foreign_systems: Mapping[str, str] = field(default_factory=dict)

    @property
    def needed_names(self) -> frozenset[str]:
        """The names that any ELF file needs (DT_NEEDED)."""
        return frozenset(name for image in self.images.values() for name in image.needed)

    def list_programs(self) -> list[str]:
        """Return the paths of all programs, in the tree's order."""
        return [path for path, image in self.images.items() if image.is_program]

    def list_libraries(self) -> list[str]:
        """Return the paths of all shared libraries, in the tree's order."""
        return [path for path, image in self.images.items() if image.is_library]

    def find_providers(self, name: str, like: Image) -> tuple[str, ...]:
        """Return the libraries with the file name or soname ``name`` that ``like`` can load.

        A process loads only objects of its own architecture.
        """
        return tuple(
            path
            for path in self.paths_by_name.get(name, ())
            if self.images[path].architecture == like.architecture
        )

    def find_privileges(self, path: str) -> tuple[Privilege, ...]:
        """Return the privileges of the program at ``path``, none for other files.

        The loader ignores ``$ORIGIN`` in a privileged program (ld.so(8)).
        """
        image = self.images.get(path)
        return find_privileges(self.tree, path) if image is not None and image.is_program else ()

    def guess_libc(self, image: Image) -> Libc:
        """Return the C library of the processes that load ``image``.

        A program names its loader. For a library of a wheel the platform tag counts, and then the
        C library with which it was linked. A library that needs none is loaded by the programs of
        the pack, or with its other libraries.
        """
        linked = find_linked_libc(image)
        if linked is not None and (image.interpreter is not None or self.libc_of_tags is None):
            return linked.libc
        return self.libc_of_tags or self._common_libcs.get(image.architecture, Libc.GLIBC)

    @cached_property
    def libc_of_tags(self) -> Libc | None:
        """The C library that the platform tags of a wheel name (PEP 600 and 656), or None."""
        found = {
            libc
            for tag in read_platform_tags(self.tree)
            for start, libc in (("manylinux", Libc.GLIBC), ("musllinux", Libc.MUSL))
            if tag.startswith(start)
        }
        return found.pop() if len(found) == 1 else None

    @cached_property
    def _common_libcs(self) -> Mapping[object, Libc]:
        """The C library of all programs of an architecture, or else of all its libraries."""
        found: dict[tuple[bool, object], set[Libc]] = {}
        for image in self.images.values():
            if (linked := find_linked_libc(image)) is not None:
                key = (image.interpreter is not None, image.architecture)
                found.setdefault(key, set()).add(linked.libc)
        return {
            architecture: next(iter(libcs))
            for (_, architecture), libcs in sorted(found.items(), key=lambda item: item[0][0])
            if len(libcs) == 1
        }

    def get_content(self, path: str) -> Content:
        """Return the bytes of the ELF file at ``path``, which is a key of ``images``."""
        node = self.tree.nodes[path]
        assert isinstance(node, File)  # noqa: S101 (only files have images)
        return node.content

    def has_same_bytes(self, one: str, other: str) -> bool:
        """Return whether two ELF files have the same bytes."""
        return has_same_bytes(self.get_content(one), self.get_content(other))


def read_bundle(tree: Tree, where: str) -> Bundle:
    """Read the image of every ELF file in ``tree``.

    Args:
        tree: its contents must be open.
        where: the artifact's name, for messages.

    Raises:
        BundleFixError: an ELF file in it is damaged or cannot be read, or its ELF files exceed a
            limit.
    """
    images: dict[str, Image] = {}
    foreign: dict[str, str] = {}
    entries, name_bytes = MAX_ENTRIES, MAX_NAME_BYTES
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
        name_bytes -= sum(map(len, (*image.needed, image.rpath or "", image.runpath or "")))
        # A hostile archive may have many small files whose headers overlap.
        if entries < 0 or name_bytes < 0:
            raise BundleFixError(
                f"its ELF files exceed the limit of {MAX_ENTRIES:,} headers and dynamic entries,"
                f" or of {MAX_NAME_BYTES >> 20} MiB of names",
                where=where, hint="the archive may be hostile; do not unpack it",
            )  # fmt: skip
    return build_bundle(tree, images, foreign)


def build_bundle(
    tree: Tree, images: Mapping[str, Image], foreign: Mapping[str, str] | None = None
) -> Bundle:
    """Return the bundle of a tree whose images are known."""
    # A dict, as a set that keeps its order.
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
