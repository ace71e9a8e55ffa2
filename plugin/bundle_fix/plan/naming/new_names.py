"""New names of libraries in a pack: symlinks, or files where symlinks would get lost.

Wheels and npm packages are installed without symlinks, and most programs that unpack zip archives
write a text file in place of one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.tree import File, Node, Symlink, resolve_path
from bundle_fix.plan.links import list_links
from bundle_fix.plan.naming.references import find_references


class NewNames(Struct, frozen=True):
    """The new names of libraries.

    Attributes:
        symlinks: symlinks to add or to replace: path to target.
        renamed: libraries with another name: old path to new path.
        copied: copies under another name: path to the path of the original.
        remarks: what asks for the old name of a copied library, by its path.
    """

    symlinks: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    copied: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


def plan_names(bundle: Bundle, symlinks: Mapping[str, str], code: Sequence[Path] = ()) -> NewNames:
    """Return the names by which files can stand for ``symlinks`` (path to target).

    A library is renamed if nothing can ask for its old name, else it is copied.

    Args:
        bundle: the pack; its contents must be open.
        symlinks: the symlinks that would be added.
        code: files outside the pack that may contain names.
    """
    originals: dict[str, str] = {}
    for path, target in symlinks.items():
        original = resolve_path(bundle.tree, posixpath.join(posixpath.dirname(path), target))
        if isinstance(original, str) and original in bundle.images:
            originals[path] = original
    movable = [original for path, original in originals.items() if path not in bundle.tree.nodes]
    remarks = find_references(bundle, dict.fromkeys(movable), code)
    renamed: dict[str, str] = {}
    for path, original in originals.items():
        if original in movable and original not in remarks and path not in bundle.tree.nodes:
            renamed.setdefault(original, path)
    copied = {
        path: renamed.get(original, original)
        for path, original in originals.items()
        if renamed.get(original) != path
    }
    return NewNames(renamed=renamed, copied=copied, remarks=remarks)


def find_replaceable_links(bundle: Bundle) -> Mapping[str, str]:
    """Return the symlinks and hard links to a file of the pack: path to the path of the file."""
    # npm installs neither symlinks nor hard links; other formats have no hard links.
    nodes = bundle.tree.nodes
    links = list_links(bundle.tree).items()
    return {path: end for path, end in links if isinstance(nodes.get(end), File)}


def add_names(bundle: Bundle, names: NewNames) -> Bundle:
    """Return ``bundle`` with new names of its libraries."""
    renamed = rename_files(bundle, names.renamed)
    return add_symlinks(copy_files(renamed, names.copied), names.symlinks)


def rename_files(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with files under other names: old path to new path."""
    if not paths:
        return bundle
    nodes: dict[str, Node] = {
        paths.get(path, path): replace(node, header=None) if path in paths else node
        for path, node in bundle.tree.nodes.items()
    }
    images = {paths.get(path, path): image for path, image in bundle.images.items()}
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def copy_files(bundle: Bundle, copies: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with copies of files: path to the path of the original."""
    if not copies:
        return bundle
    nodes: dict[str, Node] = dict(bundle.tree.nodes)
    images = dict(bundle.images)
    for path, original in copies.items():
        nodes[path] = replace(nodes[original], header=None, preceding=None, hardlink=None)
        if original in images:
            images[path] = images[original]
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def add_symlinks(bundle: Bundle, links: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with symlinks added or replacing members; new ones follow their target."""
    if not links:
        return bundle
    added: dict[str, list[str]] = {}
    for path, target in links.items():
        if path not in bundle.tree.nodes:
            target_path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            added.setdefault(target_path, []).append(path)
    nodes: dict[str, Node] = {}
    for path, node in bundle.tree.nodes.items():
        nodes[path] = _make_symlink(links[path], node) if path in links else node
        for new in added.get(path, ()):
            nodes[new] = replace(_make_symlink(links[new], node), preceding=None)
    tree = replace(bundle.tree, nodes=nodes)
    images = {path: image for path, image in bundle.images.items() if path not in links}
    return build_bundle(tree, images)


def _make_symlink(target: str, member: Node) -> Symlink:
    """Return a symlink with the owner, time and position of ``member``."""
    return Symlink(
        target, replace(member.metadata, mode=0o777, extra={}), preceding=member.preceding
    )
