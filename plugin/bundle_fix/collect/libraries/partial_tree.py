"""A lone ELF file, or some files of a folder, with what stands around: what search paths lead to.

A program in a healthy pack loads what is beside it, so that it cannot be judged alone. What is read
is bounded: files named like what is needed, in the folders that ``$ORIGIN`` entries name, and, for
some files of a folder, in those that hold libraries.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from bundle_fix.archive.directory import stamp_of
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.loader.runpath import list_entries
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import MAX_SYMLINKS, File, Metadata, Node, Symlink, Tree

MAX_FILES = 2000
"""Files that are taken in; what one program loads is seldom a tenth of it."""
MAX_NAMES = 100_000


def tree_around(path: Path) -> tuple[Tree, str]:
    """A tree of the ELF file at ``path`` and what its search paths lead to.

    Returns:
        The tree, whose root is the smallest folder that has all these folders, and the path of
        the file in it.

    Raises:
        BundleFixError: the file is damaged or cannot be read.
    """
    real = str(path.resolve())
    taken: dict[str, Node] = {}
    folders = {posixpath.dirname(real): None}
    image = read_image_at(path)
    _take(real, taken)
    _take_needed([(real, image)] if image is not None else [], folders, taken, lambda _: True)
    root = os.path.commonpath([*folders, *map(posixpath.dirname, taken)])
    tree = Tree({posixpath.relpath(place, root): node for place, node in sorted(taken.items())})
    return tree, posixpath.relpath(real, root)


def tree_of_members(
    root: Path, members: Iterable[Path], built: Mapping[str, Path], *, partial: bool
) -> tuple[Tree, frozenset[str]]:
    """A tree of some files of a folder, and of what they need that lies elsewhere in it.

    What lies where the loader of this very machine looks by itself (``root`` may be ``/usr``) is
    the host's, but for what the build makes.

    Args:
        root: the folder; nothing outside of it is in the tree.
        members: files and links in it; what is not there any more is left out.
        built: libraries that belong into the folder, by their paths in it, and where they are now.
        partial: whether those that are not there yet will be.

    Returns:
        The tree, and the paths in it that are members.

    Raises:
        BundleFixError: a member is damaged or cannot be read.
    """
    top = os.path.realpath(root)
    taken: dict[str, Node] = {}
    own: dict[str, None] = {}
    waiting = []
    usual = ("lib", "lib64", *map(posixpath.dirname, built))
    folders = dict.fromkeys(posixpath.join(top, name) for name in usual)
    for member in members:
        place = _place(member)
        if not os.path.lexists(place) or not place.startswith(f"{top}/".replace("//", "/")):
            continue
        own[place] = None
        real = _take(place, taken)
        if real is None and member.is_symlink():
            taken[place] = Symlink(os.readlink(place), Metadata(0o777))  # noqa: PTH115
        image = read_image_at(Path(real)) if real == place else None
        if image is not None:
            waiting.append((place, image))
            if image.is_library:
                folders[posixpath.dirname(place)] = None
    for path, file in built.items() if partial else ():
        place = posixpath.normpath(posixpath.join(top, path))
        if place not in taken and not os.path.lexists(place) and file.is_file():
            taken[place] = _file(file)
    ours = {posixpath.normpath(posixpath.join(top, path)) for path in built}
    _take_needed(waiting, folders, taken, lambda place: place in ours or not _is_the_hosts(place))
    nodes = {posixpath.relpath(place, top): node for place, node in sorted(taken.items())}
    nodes = {path: node for path, node in nodes.items() if not path.startswith("../")}
    return Tree(nodes), frozenset(posixpath.relpath(place, top) for place in own)


def path_below(root: Path, member: Path) -> str:
    """The path of a member in the tree of ``root``."""
    return posixpath.relpath(_place(member), os.path.realpath(root))


def _place(member: Path) -> str:
    """Where a file or link really is."""
    return posixpath.join(os.path.realpath(member.parent), member.name)


def _is_the_hosts(place: str) -> bool:
    """Whether a file is in a directory of this machine's system, which the loader looks through."""
    folder = os.path.realpath(posixpath.dirname(place))
    return is_default_directory(folder) and not folder.startswith("/usr/local/")


def _take_needed(
    objects: Iterable[tuple[str, Image]],
    folders: dict[str, None],
    taken: dict[str, Node],
    wanted: Callable[[str], bool],
) -> None:
    """Take what ``objects`` need, and what that needs, from ``folders`` and those they name."""
    waiting = deque(objects)
    limit = len(taken) + MAX_FILES
    while waiting and len(taken) < limit:
        found, image = waiting.popleft()
        folders.update(dict.fromkeys(_folders(found, image, taken)))
        for name in image.needed:
            waiting.extend(_named_like(name, folders, taken, wanted))


def _folders(path: str, image: Image, taken: dict[str, Node]) -> Iterator[str]:
    """The folders that the entries of an object name, whether they exist or not."""
    for entry in list_entries(image):
        base, place = expand_entry(entry, posixpath.dirname(path))
        if base is PathBase.ORIGIN:
            yield _walk(place, taken) or posixpath.normpath(place)
    for name in image.needed:
        base, place = expand_entry(name, posixpath.dirname(path))
        if base is PathBase.ORIGIN:
            yield posixpath.dirname(posixpath.normpath(place))


def _named_like(
    name: str,
    folders: dict[str, None],
    taken: dict[str, Node],
    wanted: Callable[[str], bool],
) -> Iterator[tuple[str, Image]]:
    """The libraries in ``folders`` that have ``name`` or another version of it; each once.

    Those are left out that are not ``wanted``, by their paths.
    """
    stem = posixpath.basename(name).partition(".so")[0] + ".so"
    for folder in folders:
        for found in _names(folder):
            place = posixpath.join(folder, found)
            if not found.startswith(stem) or place in taken or not wanted(place):
                continue
            real = _take(place, taken)
            try:
                image = read_image_at(Path(real)) if real else None
            except BundleFixError:
                # A damaged file beside the one that is asked for is another check's finding.
                taken.pop(real or "", None)
                continue
            if real is not None and image is not None:
                yield real, image


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MAX_NAMES]  # noqa: PTH208 (names, not paths)
    except OSError:
        return []


def _take(path: str, taken: dict[str, Node]) -> str | None:
    """Take a file, and the links that lead to it; None where there is no regular file."""
    real = _walk(path, taken)
    if real is None or not Path(real).is_file():
        return None
    taken[real] = _file(Path(real))
    return real


def _file(path: Path) -> File:
    real = path.resolve()
    status = real.stat()
    return File(PathContent(real, status.st_size), stamp_of(str(real), status))


def _walk(path: str, taken: dict[str, Node]) -> str | None:
    """Where ``path`` really is; the links on the way are taken. None where there is nothing."""
    here, todo, followed = "/", path.split("/")[::-1], 0
    while todo:
        part = todo.pop()
        if part == "..":
            here = posixpath.dirname(here)
        if part in ("", ".", ".."):
            continue
        here = posixpath.join(here, part)
        if Path(here).is_symlink():
            followed += 1
            if followed > MAX_SYMLINKS:
                return None
            target = os.readlink(here)  # noqa: PTH115 (Path would tidy the text)
            taken[here] = Symlink(target, Metadata(0o777))
            todo.extend(reversed(target.split("/")))
            here = "/" if target.startswith("/") else posixpath.dirname(here)
        elif not Path(here).exists():
            return None
    return here
