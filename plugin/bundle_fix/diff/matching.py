"""Which file of one pack took the place of which file of another.

A file is first sought at its own path; what is left is paired by what it is: a library by its
soname, whatever stands behind it in its file's name, then any file by its bytes, by its path
without version numbers, and by its name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Hashable, Iterable, Mapping

from msgspec import Struct

from bundle_fix.diff.snapshot import Snapshot, find_common_root
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import Content, has_same_bytes
from bundle_fix.model.tree import File

Key = Callable[[Bundle, str], Hashable | None]
NUMBERS = re.compile(r"-[0-9a-f]{8}(?=\.)|\d+(\.\d+)*")
"""Version numbers, and the hashes that auditwheel puts into the names of libraries."""


class FileMatches(Struct, frozen=True):
    """The files of an old pack and those that took their places.

    ``new_of`` and ``old_of`` lead from path to path; ``same`` has the new paths of those whose
    bytes are what they were. ``translate_path`` is the path in the new pack of an old path;
    ``root_directories``
    are the folders, if any, that are the one around all in one pack and no member in the other.
    """

    new_of: Mapping[str, str]
    old_of: Mapping[str, str]
    same: frozenset[str]
    translate_path: Callable[[str], str]
    root_directories: tuple[str, str]


def match_files(old: Snapshot, new: Snapshot) -> FileMatches:
    """Pair the files of two packs, and compare the bytes of those that can be the same."""
    around = find_common_root(old.bundle.tree, new.bundle.tree)
    take_off, put_on = (f"{folder}/" if folder else "" for folder in around)

    def at(path: str) -> str:
        return put_on + path.removeprefix(take_off)

    found = _paired(old, new, at)
    compared = ((old.contents.get(p), new.contents.get(q), q) for p, q in found.items())
    same = {q for one, other, q in compared if one and other and _is_same(one, other)}
    return FileMatches(found, {q: p for p, q in found.items()}, frozenset(same), at, around)


def _paired(old: Snapshot, new: Snapshot, at: Callable[[str], str]) -> dict[str, str]:
    left, right = ([p for p, _ in side.bundle.tree.files()] for side in (old, new))
    found: dict[str, str] = {}
    if old.context.only is not None and new.context.only is not None:
        found[old.context.only] = new.context.only
    there = set(right) - set(found.values())
    found |= {path: at(path) for path in left if path not in found and at(path) in there}
    for key in (_soname, _unnumbered, _named_and_sized, _sized, _named, _stem):
        taken = set(found.values())
        left = [path for path in left if path not in found]
        right = [path for path in right if path not in taken]
        mine, others = _grouped(old.bundle, left, key), _grouped(new.bundle, right, key)
        for value, paths in mine.items():
            counterparts = others.get(value, [])
            # Where several are alike, their order is all there is to go by: for libraries alone.
            if len(paths) != len(counterparts) or (len(paths) > 1 and key is not _soname):
                continue
            pairs = zip(paths, counterparts, strict=True)
            found |= {
                p: q
                for p, q in pairs
                if key is not _sized or _is_same(_content(old, p), _content(new, q))
            }
    return found


def _grouped(bundle: Bundle, paths: Iterable[str], key: Key) -> dict[Hashable, list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for path in paths:
        value = key(bundle, path)
        if value is not None:
            groups.setdefault(value, []).append(path)
    return groups


def _soname(bundle: Bundle, path: str) -> Hashable | None:
    image = bundle.images.get(path)
    if image is None or not image.is_library or not image.soname:
        return None
    return image.architecture, image.soname


def _unnumbered(bundle: Bundle, path: str) -> Hashable | None:
    return path in bundle.images, strip_version_numbers(path)


def strip_version_numbers(path: str) -> str:
    """A path without the version numbers in it."""
    return NUMBERS.sub("#", path)


def _named_and_sized(bundle: Bundle, path: str) -> Hashable | None:
    return posixpath.basename(path), _sized(bundle, path)


def _sized(bundle: Bundle, path: str) -> Hashable | None:
    node = bundle.tree.nodes[path]
    return (node.content.size or None) if isinstance(node, File) else None


def _named(bundle: Bundle, path: str) -> Hashable | None:
    return path in bundle.images, posixpath.basename(path)


def _stem(bundle: Bundle, path: str) -> Hashable | None:
    image = bundle.images.get(path)
    name = strip_version_numbers(posixpath.basename(path).partition(".so")[0])
    return (image.architecture, name) if image is not None and image.is_library else None


def _content(side: Snapshot, path: str) -> Content:
    node = side.bundle.tree.nodes[path]
    assert isinstance(node, File)  # noqa: S101 (only files are paired)
    return node.content


def _is_same(one: Content, other: Content) -> bool:
    # Two names for the same slice of the same file need not be read.
    return one == other or has_same_bytes(one, other)
