"""Trees of a single ELF file, or of some files of a directory, with the libraries that they load.

A program loads libraries from directories next to it, so it cannot be checked without them. Only
files named like a needed library are read, from the directories of ``$ORIGIN`` entries and, for
some files of a directory, from its directories of libraries.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from bundle_fix.archive.directory import read_metadata
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.hosts.files import MACHINE
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.loader.runpath import list_runpath_entries
from bundle_fix.loader.search.dependencies import has_filtees, read_dynamic_names
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.content import PathContent, make_path_content
from bundle_fix.model.errors import BundleFixError, raise_if_exhausted
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.symlinks import FileStatus, Unresolved, follow_symlinks
from bundle_fix.model.tree import File, Metadata, Node, Symlink, Tree

MAX_FILES = 2000
"""Limit of files added to a tree; a program rarely loads a tenth of it."""
MAX_NAMES = 100_000
"""Names of a directory that are considered."""


def read_tree_with_dependencies(path: Path) -> tuple[Tree, str]:
    """Return a tree of the ELF file at ``path`` and of the libraries on its search paths.

    Returns:
        The tree, whose root is the innermost common parent of all these directories, and the path
        of the file in it.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    real = str(path.resolve())
    nodes: dict[str, Node] = {}
    directories = {posixpath.dirname(real): None}
    image = read_image_at(path)
    _add_file(real, nodes)
    _add_needed([(real, image)] if image is not None else [], directories, nodes, lambda _: True)
    root = os.path.commonpath([*directories, *map(posixpath.dirname, nodes)])
    tree = Tree(
        {posixpath.relpath(location, root): node for location, node in sorted(nodes.items())}
    )
    return tree, posixpath.relpath(real, root)


def read_tree_of_members(
    root: Path, members: Iterable[Path], built: Mapping[str, Path], planned: Mapping[str, Path]
) -> tuple[Tree, frozenset[str]]:
    """Return a tree of some files of a directory, and of the libraries in it that they need.

    Libraries in the default directories of this machine's loader (``root`` may be ``/usr``) belong
    to the host, except those that the build makes.

    Args:
        root: the directory; the tree contains no files from outside it.
        members: files and symlinks in it; those that no longer exist are left out.
        built: libraries that the build installs: path in the directory, and current path.
        planned: files that may be installed later, like ``built``. They are in the tree; those that
            are not in the directory yet are read from their current path.

    Returns:
        The tree, and the paths in it that are members.

    Raises:
        BundleFixError: a member is damaged or cannot be read.
    """
    top = os.path.realpath(root)
    nodes: dict[str, Node] = {}
    own: dict[str, None] = {}
    queue = []
    usual = ("lib", "lib64", *map(posixpath.dirname, built))
    directories = dict.fromkeys(posixpath.join(top, name) for name in usual)
    for member in members:
        location = _resolve_parent(member)
        if not os.path.lexists(location) or not location.startswith(f"{top}/".replace("//", "/")):
            continue
        own[location] = None
        real = _add_file(location, nodes)
        if real is None and member.is_symlink():
            nodes[location] = Symlink(os.readlink(location), Metadata(0o777))  # noqa: PTH115
        image = read_image_at(Path(real)) if real == location else None
        if image is not None:
            queue.append((location, image))
            if image.is_library:
                directories[posixpath.dirname(location)] = None
    for path, file in planned.items():
        location = posixpath.normpath(posixpath.join(top, path))
        if os.path.lexists(location):
            _add_file(location, nodes)
        elif location not in nodes and file.is_symlink():
            nodes[location] = Symlink(os.readlink(file), Metadata(0o777))  # noqa: PTH115
        elif location not in nodes and file.is_file():
            nodes[location] = _create_file(file)
    ours = {posixpath.normpath(posixpath.join(top, path)) for path in (*built, *planned)}
    _add_needed(
        queue, directories, nodes, lambda location: location in ours or not _is_host_file(location)
    )
    relative = {posixpath.relpath(location, top): node for location, node in sorted(nodes.items())}
    inside = {path: node for path, node in relative.items() if not path.startswith("../")}
    return Tree(inside), frozenset(posixpath.relpath(location, top) for location in own)


def get_path_below(root: Path, member: Path) -> str:
    """Return the path of a member in the tree of ``root``."""
    return posixpath.relpath(_resolve_parent(member), os.path.realpath(root))


def _resolve_parent(member: Path) -> str:
    """Return the path of a file or symlink, with the symlinks of its directory resolved."""
    return posixpath.join(os.path.realpath(member.parent), member.name)


def _is_host_file(location: str) -> bool:
    """Return whether a file is in a default directory of this machine's loader."""
    directory = os.path.realpath(posixpath.dirname(location))
    return is_default_directory(directory) and not directory.startswith("/usr/local/")


def _add_needed(
    objects: Iterable[tuple[str, Image]],
    directories: dict[str, None],
    nodes: dict[str, Node],
    is_included: Callable[[str], bool],
) -> None:
    """Add the libraries that ``objects`` need, and those that these need in turn.

    They are searched for in ``directories``, to which the objects' search paths are added.
    """
    queue = deque(objects)
    limit = len(nodes) + MAX_FILES
    while queue and len(nodes) < limit:
        found, image = queue.popleft()
        directories.update(dict.fromkeys(_list_search_directories(found, image, nodes)))
        for name in _list_names_to_load(found, image):
            queue.extend(_add_named_like(name, directories, nodes, is_included))


def _list_names_to_load(path: str, image: Image) -> Iterable[str]:
    """Return the needed names of an object, and those of its filtees."""
    if not has_filtees(image) or not Path(path).is_file():
        return image.needed
    with make_path_content(Path(path)).open() as reader:
        return [dependency.name for dependency in read_dynamic_names(reader, image)]


def _list_search_directories(path: str, image: Image, nodes: dict[str, Node]) -> Iterator[str]:
    """Yield the directories of an object's ``$ORIGIN`` entries, whether they exist or not."""
    for entry in list_runpath_entries(image):
        base, location = expand_entry(entry, posixpath.dirname(path))
        if base is PathBase.ORIGIN:
            yield _follow_symlinks(location, nodes) or posixpath.normpath(location)
    for name in image.needed:
        base, location = expand_entry(name, posixpath.dirname(path))
        if base is PathBase.ORIGIN:
            yield posixpath.dirname(posixpath.normpath(location))


def _add_named_like(
    name: str,
    directories: dict[str, None],
    nodes: dict[str, Node],
    is_included: Callable[[str], bool],
) -> Iterator[tuple[str, Image]]:
    """Add and yield the libraries in ``directories`` named ``name``, or like another version of it.

    Other versions are added because a check names them if the needed one is missing.
    """
    stem = get_library_stem(name) + ".so"
    for directory in directories:
        for found in _list_names(directory):
            location = posixpath.join(directory, found)
            if not found.startswith(stem) or location in nodes or not is_included(location):
                continue
            real = _add_file(location, nodes)
            try:
                image = read_image_at(Path(real)) if real else None
            except BundleFixError:
                # A damaged file next to a needed one is reported when it is checked itself.
                nodes.pop(real or "", None)
                continue
            if real is not None and image is not None:
                yield real, image


def _list_names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))[:MAX_NAMES]  # noqa: PTH208 (names, not paths)
    except OSError as error:
        raise_if_exhausted(error)
        return []


def _add_file(path: str, nodes: dict[str, Node]) -> str | None:
    """Add a file and the symlinks that lead to it; return its path, None if it is not regular."""
    real = _follow_symlinks(path, nodes)
    if real is None or not Path(real).is_file():
        return None
    nodes[real] = _create_file(Path(real))
    return real


def _create_file(path: Path) -> File:
    real = path.resolve()
    status = real.stat()
    return File(PathContent(real, status.st_size), read_metadata(str(real), status))


def _follow_symlinks(path: str, nodes: dict[str, Node]) -> str | None:
    """Resolve ``path`` and add the symlinks on the way; return None if it does not exist."""

    def add_symlink(inner: str) -> FileStatus:
        status = MACHINE.get_status(inner)
        if status.symlink_target is not None:
            nodes[inner] = Symlink(status.symlink_target, Metadata(0o777))
        return status

    found = follow_symlinks(path, add_symlink)
    return None if isinstance(found, Unresolved) else found
