"""Move libraries out of the directories of programs, leaving symlinks at the old paths."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import (
    Directory,
    File,
    Metadata,
    Node,
    Symlink,
    Tree,
    get_relative_path,
    resolve_path,
)


class RelocatedBundle(Struct, frozen=True):
    """A bundle after its libraries were moved.

    ``paths`` maps the old path of each moved file or symlink to the new one; ``remarks`` maps the
    path of each library that could not be moved to the reason.
    """

    bundle: Bundle
    paths: Mapping[str, str]
    remarks: Mapping[str, tuple[str, ...]]


def move_libraries(bundle: Bundle, directory: str) -> RelocatedBundle:
    """Move the libraries from all directories with programs to ``directory``.

    Args:
        bundle: the pack.
        directory: path relative to the root of the pack; it is added if it does not exist.

    Raises:
        BundleFixError: ``directory`` is outside the pack, or is not a directory.
    """
    target = _normalize_directory(bundle.tree, directory)
    paths, remarks = _plan_moves(bundle, target)
    if not paths:
        return RelocatedBundle(bundle, {}, remarks)
    nodes: dict[str, Node] = {}
    for path, node in bundle.tree.nodes.items():
        new = paths.get(path)
        if new is None:
            nodes[path] = _update_twin(node, paths)
            continue
        if target not in bundle.tree.directories and target not in nodes:
            old_directory = bundle.tree.nodes.get(posixpath.dirname(path))
            nodes[target] = Directory(
                old_directory.metadata
                if old_directory
                else Metadata(0o755, mtime=node.metadata.mtime)
            )
        if new not in bundle.tree.nodes:
            # The header of an archive member contains its old path, so it cannot be reused.
            nodes[new] = replace(_update_twin(node, paths), header=None)
        stamp = replace(node.metadata, mode=0o777, extra={})
        nodes[path] = Symlink(get_relative_path(new, posixpath.dirname(path)), stamp)
    images = {
        paths.get(path, path): image
        for path, image in bundle.images.items()
        if paths.get(path) not in bundle.images
    }
    return RelocatedBundle(build_bundle(replace(bundle.tree, nodes=nodes), images), paths, remarks)


def _normalize_directory(tree: Tree, directory: str) -> str:
    """Return ``directory`` as a path of the tree, or raise if libraries cannot be moved there."""
    target = posixpath.normpath(directory)
    if target.startswith(("/", "..")):
        raise BundleFixError(
            "not inside the pack",
            where=directory,
            hint="--move-libraries takes a directory relative to the root of the pack",
        )
    above = target
    while above not in tree.directories:
        if above in tree.nodes:
            raise BundleFixError(
                "not a directory", where=above,
                hint="--move-libraries takes a directory of the pack",
            )  # fmt: skip
        above = posixpath.dirname(above)
    return target


def _plan_moves(bundle: Bundle, target: str) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the new path of every moved member, and the reasons why other libraries stay."""
    directories = {posixpath.dirname(path) for path in bundle.list_programs()} - {target}
    libraries = [
        path
        for path in bundle.list_libraries()
        if posixpath.dirname(path) in directories and ".so" in posixpath.basename(path)
    ]
    symlinks_of = _group_symlinks(bundle, set(libraries))
    paths: dict[str, str] = {}
    remarks: dict[str, tuple[str, ...]] = {}
    for library in libraries:
        members = (library, *symlinks_of.get(library, ()))
        new = {path: posixpath.join(target, posixpath.basename(path)) for path in members}
        blocked = [to for path, to in new.items() if not _can_move(bundle, path, to, paths)]
        if blocked:
            remarks[library] = (f"not moved: {blocked[0]} is a different file",)
        else:
            paths |= new
    return paths, remarks


def _group_symlinks(bundle: Bundle, libraries: set[str]) -> dict[str, list[str]]:
    """Return the symlinks in the directory of each library that resolve to it."""
    found: dict[str, list[str]] = {}
    for path, link in bundle.tree.iter_symlinks():
        target = resolve_path(bundle.tree, path)
        if target in libraries and "/" not in link.target:
            found.setdefault(str(target), []).append(path)
    return found


def _can_move(bundle: Bundle, path: str, new: str, paths: Mapping[str, str]) -> bool:
    """Return whether ``path`` can move to ``new``, which is unused or has the same content."""
    if new in paths.values():
        return False
    node, existing = bundle.tree.nodes[path], bundle.tree.nodes.get(new)
    if existing is None:
        return new not in bundle.tree.directories
    if isinstance(node, Symlink) and isinstance(existing, Symlink):
        return node.target == existing.target
    return (
        isinstance(node, File)
        and isinstance(existing, File)
        and has_same_bytes(node.content, existing.content)
    )


def _update_twin(node: Node, paths: Mapping[str, str]) -> Node:
    """Return ``node`` with its hard link target, if that has moved, at the new path."""
    if not isinstance(node, File) or node.hardlink is None or node.hardlink not in paths:
        return node
    return replace(node, hardlink=paths[node.hardlink], header=None)
