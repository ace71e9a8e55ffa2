"""A lone ELF file with what stands around it: the files that its search paths lead to.

A program in a healthy pack loads what is beside it, so that it cannot be judged alone. What is read
is bounded: files named like what is needed, in the folders that ``$ORIGIN`` entries name.
"""

from __future__ import annotations

import os
import posixpath
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.content import PathContent
from bundle_fix.elf.image import Image
from bundle_fix.elf.on_disk import image_at
from bundle_fix.errors import BundleFixError
from bundle_fix.loader.tokens import Base, expand
from bundle_fix.runpath import entries
from bundle_fix.tree import MAX_LINKS, File, Node, Stamp, Symlink, Tree

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
    image = image_at(path)
    waiting = deque([(real, image)] if image is not None else [])
    _take(real, taken)
    while waiting and len(taken) < MAX_FILES:
        found, image = waiting.popleft()
        folders.update(dict.fromkeys(_folders(found, image, taken)))
        for name in image.needed:
            waiting.extend(_named_like(name, folders, taken))
    root = os.path.commonpath([*folders, *map(posixpath.dirname, taken)])
    tree = Tree({posixpath.relpath(place, root): node for place, node in sorted(taken.items())})
    return tree, posixpath.relpath(real, root)


def _folders(path: str, image: Image, taken: dict[str, Node]) -> Iterator[str]:
    """The folders that the entries of an object name, whether they exist or not."""
    for entry in entries(image):
        base, place = expand(entry, posixpath.dirname(path))
        if base is Base.ORIGIN:
            yield _walk(place, taken) or posixpath.normpath(place)
    for name in image.needed:
        base, place = expand(name, posixpath.dirname(path))
        if base is Base.ORIGIN:
            yield posixpath.dirname(posixpath.normpath(place))


def _named_like(
    name: str, folders: dict[str, None], taken: dict[str, Node]
) -> Iterator[tuple[str, Image]]:
    """The libraries in ``folders`` that have ``name`` or another version of it; each once."""
    stem = posixpath.basename(name).partition(".so")[0] + ".so"
    for folder in folders:
        for found in _names(folder):
            place = posixpath.join(folder, found)
            if not found.startswith(stem) or place in taken:
                continue
            real = _take(place, taken)
            try:
                image = image_at(Path(real)) if real else None
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
    status = Path(real).stat()
    stamp = Stamp(status.st_mode & 0o7777, status.st_uid, status.st_gid, mtime=status.st_mtime)
    taken[real] = File(PathContent(Path(real), status.st_size), stamp)
    return real


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
            if followed > MAX_LINKS:
                return None
            target = os.readlink(here)  # noqa: PTH115 (Path would tidy the text)
            taken[here] = Symlink(target, Stamp(0o777))
            todo.extend(reversed(target.split("/")))
            here = "/" if target.startswith("/") else posixpath.dirname(here)
        elif not Path(here).exists():
            return None
    return here
