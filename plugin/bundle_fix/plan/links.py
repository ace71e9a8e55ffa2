"""Symlinks of a pack: broken and stale ones, missing ones for sonames, and texts in their place."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from typing import NamedTuple

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.library_names import get_library_stem, get_library_version, has_version_of
from bundle_fix.model.symlinks import MAX_SYMLINKS, Unresolved
from bundle_fix.model.tree import Symlink, Tree, get_first_hard_link, resolve_path

MAX_LINK_TEXT = 4096
"""Bytes of the longest target of a symlink (PATH_MAX)."""
LIBRARY_NAME = re.compile(r".+\.so(\.[\w.+-]+)?")


def list_links(tree: Tree) -> Mapping[str, str]:
    """Return the symlinks and hard links that lead to a member, with the path of that member."""
    ends = {path: resolve_path(tree, path) for path, _ in tree.iter_symlinks()}
    links = {path: end for path, end in ends.items() if isinstance(end, str)}
    return links | {path: file.hardlink for path, file in tree.iter_files() if file.hardlink}


def find_broken_symlinks(tree: Tree) -> Mapping[str, tuple[str, Unresolved]]:
    """Return the symlinks that do not resolve inside the pack: path to target and reason."""
    found = {}
    for path, link in tree.iter_symlinks():
        target = resolve_path(tree, path)
        if isinstance(target, Unresolved):
            found[path] = (link.target, target)
    return found


def find_missing_soname_symlinks(bundle: Bundle) -> Mapping[str, str]:
    """Return the missing symlinks for sonames: path of the symlink to path of the library.

    A library that no object needs gets a symlink only if its name is a version of its soname
    (``libx.so`` or ``libx.so.4.6.11`` for ``libx.so.4``), because plugins are opened by file name.
    If two different files of one directory would get the same symlink, neither does: one of them
    may be left over from an earlier build, and it is unknown which.
    """
    needed = bundle.needed_names
    names_of: dict[str, set[str]] = {}
    for path in bundle.tree.nodes:
        target = resolve_path(bundle.tree, path)
        if isinstance(target, str) and target in bundle.images:
            first_path = get_first_hard_link(bundle.tree, target)
            names_of.setdefault(first_path, set()).add(posixpath.basename(path))
    found: dict[str, list[str]] = {}
    for path in bundle.list_libraries():
        soname = bundle.images[path].soname
        names = names_of.get(get_first_hard_link(bundle.tree, path), ())
        if not soname or "/" in soname or soname in names:
            continue
        link = posixpath.join(posixpath.dirname(path), soname)
        is_version = get_library_stem(path) == get_library_stem(soname)
        if _is_available(bundle.tree, link) and (soname in needed or is_version):
            found.setdefault(link, []).append(path)
    return {
        link: first
        for link, (first, *others) in found.items()
        if all(bundle.has_same_bytes(first, other) for other in others)
    }


class StaleSymlink(NamedTuple):
    """A symlink to another version of a library than its name says.

    Attributes:
        target: the library that it leads to.
        right: the libraries of the version that it names, those of its own directory first.
        is_ambiguous: whether the nearest of them are different files.
    """

    target: str
    right: tuple[str, ...]
    is_ambiguous: bool


def find_stale_symlinks(bundle: Bundle) -> Mapping[str, StaleSymlink]:
    """Return the symlinks to another version than their name says, if the pack has that version.

    The soname of a library says its version, or else its file name. The loader compares neither
    with the name that it searches for (glibc's elf/dl-load.c, _dl_map_object_from_fd).
    """
    libraries: dict[tuple[object, str], list[str]] = {}
    for path in bundle.list_libraries():
        stem = get_library_stem(_get_versioned_name(bundle, path))
        libraries.setdefault((bundle.images[path].architecture, stem), []).append(path)
    found = {}
    for path, _ in bundle.tree.iter_symlinks():
        target = resolve_path(bundle.tree, path)
        if not isinstance(target, str) or target not in bundle.images:
            continue
        name, own = posixpath.basename(path), _get_versioned_name(bundle, target)
        if get_library_stem(name) != get_library_stem(own) or not _is_other_version(name, own):
            continue
        key = (bundle.images[target].architecture, get_library_stem(name))
        right = [p for p in libraries.get(key, ()) if _is_version(bundle, p, name)]
        if right:
            found[path] = _describe_stale_symlink(bundle, path, target, right)
    return found


def _get_versioned_name(bundle: Bundle, path: str) -> str:
    return bundle.images[path].soname or posixpath.basename(path)


def _is_other_version(name: str, own: str) -> bool:
    """Return whether both names have a version, and not the same one."""
    versions = get_library_version(name), get_library_version(own)
    return all(versions) and not has_version_of(name, own)


def _is_version(bundle: Bundle, path: str, name: str) -> bool:
    """Return whether the library at ``path`` is one that the symlink ``name`` should lead to.

    A link named as a soname needs that soname; a longer name must also fit the name of the file.
    """
    own = _get_versioned_name(bundle, path)
    names = (own, posixpath.basename(path))
    is_named = all(get_library_version(n) and has_version_of(name, n) for n in names)
    return own == name or is_named


def _describe_stale_symlink(
    bundle: Bundle, path: str, target: str, right: list[str]
) -> StaleSymlink:
    nearest = [p for p in right if posixpath.dirname(p) == posixpath.dirname(path)] or right
    is_ambiguous = any(not bundle.has_same_bytes(nearest[0], other) for other in nearest[1:])
    return StaleSymlink(target, tuple(nearest), is_ambiguous)


def _is_available(tree: Tree, path: str) -> bool:
    """Return whether a symlink can be added at ``path``, which is unused or a broken symlink."""
    node = tree.nodes.get(path)
    if isinstance(node, Symlink):
        return isinstance(resolve_path(tree, path), Unresolved)
    return node is None and path not in tree.directories


def find_text_symlinks(bundle: Bundle) -> Mapping[str, tuple[str, str]]:
    """Return the text files that stand for symlinks to libraries: path to target and library.

    Tools that cannot write a symlink, or do not know it, write a file with its target instead: git
    without core.symlinks, Python's zipfile, and most programs that unpack zip archives on Windows.
    """
    targets: dict[str, str] = {}
    sonames = {image.soname for image in bundle.images.values()}
    for path, file in bundle.tree.iter_files():
        if path in bundle.images or not 0 < file.content.size <= MAX_LINK_TEXT:
            continue
        name = posixpath.basename(path)
        if name not in sonames and not LIBRARY_NAME.fullmatch(name):
            continue
        with file.content.open() as reader:
            data = reader.pread(0, file.content.size)
        text = os.fsdecode(data.removesuffix(b"\n").removesuffix(b"\r"))
        if text and not text.startswith("/") and "\n" not in text and "\0" not in text:
            targets[path] = text
    found = {}
    for path, text in targets.items():
        library = _follow_text(bundle, targets, path)
        if library is not None:
            found[path] = (text, library)
    return found


def _follow_text(bundle: Bundle, targets: Mapping[str, str], path: str) -> str | None:
    """Return the library that a text file leads to, possibly through others of its kind."""
    at = path
    for _ in range(MAX_SYMLINKS):
        end = resolve_path(bundle.tree, posixpath.join(posixpath.dirname(at), targets[at]))
        if not isinstance(end, str):
            return None
        if end in bundle.images:
            return end if bundle.images[end].is_library else None
        if end not in targets:
            return None
        at = end
    return None
