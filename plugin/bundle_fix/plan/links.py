"""Symlinks of a pack: broken ones, and missing ones for the sonames of libraries."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.symlinks import Unresolved
from bundle_fix.model.tree import File, Symlink, Tree, resolve_path


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
            first_path = _get_first_hard_link(bundle.tree, target)
            names_of.setdefault(first_path, set()).add(posixpath.basename(path))
    found: dict[str, list[str]] = {}
    for path in bundle.list_libraries():
        soname = bundle.images[path].soname
        names = names_of.get(_get_first_hard_link(bundle.tree, path), ())
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


def _get_first_hard_link(tree: Tree, path: str) -> str:
    """Return the first path of the file at ``path``, the same for all its hard links."""
    node = tree.nodes.get(path)
    return node.hardlink or path if isinstance(node, File) else path


def _is_available(tree: Tree, path: str) -> bool:
    """Return whether a symlink can be added at ``path``, which is unused or a broken symlink."""
    node = tree.nodes.get(path)
    if isinstance(node, Symlink):
        return isinstance(resolve_path(tree, path), Unresolved)
    return node is None and path not in tree.directories
