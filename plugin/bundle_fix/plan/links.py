"""The links of a pack: those that lead nowhere, and those that its libraries lack."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import File, Symlink, Tree, Unresolved, resolve_path


def find_broken_symlinks(tree: Tree) -> Mapping[str, tuple[str, Unresolved]]:
    """Links that lead to nothing in the pack: path to target and reason."""
    found = {}
    for path, link in tree.links():
        end = resolve_path(tree, path)
        if isinstance(end, Unresolved):
            found[path] = (link.target, end)
    return found


def find_missing_soname_symlinks(bundle: Bundle) -> Mapping[str, str]:
    """Links that libraries lack: the path where a link of the soname belongs, and the library.

    A library that nobody needs lacks one only where its name shows that it is a version of its
    soname (``libx.so`` or ``libx.so.4.6.11`` for ``libx.so.4``): plugins are opened by file name.
    Where two different files of one folder would get the same link, neither does: nothing tells
    which of them is left from an earlier build.
    """
    needed = {name for image in bundle.images.values() for name in image.needed}
    leads_to: dict[str, set[str]] = {}
    for path in bundle.tree.nodes:
        end = resolve_path(bundle.tree, path)
        if isinstance(end, str) and end in bundle.images:
            leads_to.setdefault(_one_of_twins(bundle.tree, end), set()).add(
                posixpath.basename(path)
            )
    found: dict[str, list[str]] = {}
    for path in bundle.libraries():
        soname = bundle.images[path].soname
        names = leads_to.get(_one_of_twins(bundle.tree, path), ())
        if not soname or "/" in soname or soname in names:
            continue
        link = posixpath.join(posixpath.dirname(path), soname)
        free = _is_free(bundle.tree, link)
        related = _stem(posixpath.basename(path)) == _stem(soname)
        if free and (soname in needed or related):
            found.setdefault(link, []).append(path)
    return {
        link: first
        for link, (first, *others) in found.items()
        if all(bundle.same_file(first, other) for other in others)
    }


def _one_of_twins(tree: Tree, path: str) -> str:
    """The path that stands for all hard links to the file at ``path``."""
    node = tree.nodes.get(path)
    return node.twin or path if isinstance(node, File) else path


def _is_free(tree: Tree, path: str) -> bool:
    """Whether a link may be put at ``path``: nothing is there, or a link that leads nowhere."""
    node = tree.nodes.get(path)
    if isinstance(node, Symlink):
        return isinstance(resolve_path(tree, path), Unresolved)
    return node is None and path not in tree.folders


def _stem(name: str) -> str:
    return name.partition(".so")[0]
