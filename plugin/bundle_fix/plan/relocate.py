"""Libraries that lie beside programs, moved to a folder of their own; links stay behind."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, make_bundle
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

    ``paths`` maps old paths, of files and of the links beside them, to new ones; ``remarks`` maps
    the paths of libraries that had to stay to the reason.
    """

    bundle: Bundle
    paths: Mapping[str, str]
    remarks: Mapping[str, tuple[str, ...]]


def move_libraries(bundle: Bundle, folder: str) -> RelocatedBundle:
    """Move every library that lies in a folder with programs to ``folder``.

    Args:
        bundle: the pack.
        folder: relative to the pack's root; made where it is not there.

    Raises:
        BundleFixError: ``folder`` leads out of the pack, or something else has its name.
    """
    target = _inside(bundle.tree, folder)
    paths, remarks = _planned(bundle, target)
    if not paths:
        return RelocatedBundle(bundle, {}, remarks)
    nodes: dict[str, Node] = {}
    for path, node in bundle.tree.nodes.items():
        new = paths.get(path)
        if new is None:
            nodes[path] = _with_twin(node, paths)
            continue
        if target not in bundle.tree.folders and target not in nodes:
            beside = bundle.tree.nodes.get(posixpath.dirname(path))
            nodes[target] = Directory(
                beside.stamp if beside else Metadata(0o755, mtime=node.stamp.mtime)
            )
        if new not in bundle.tree.nodes:
            # The header of an archive's member holds its name.
            nodes[new] = replace(_with_twin(node, paths), header=None)
        stamp = replace(node.stamp, mode=0o777, extra={})
        nodes[path] = Symlink(get_relative_path(new, posixpath.dirname(path)), stamp)
    images = {
        paths.get(path, path): image
        for path, image in bundle.images.items()
        if paths.get(path) not in bundle.images
    }
    return RelocatedBundle(make_bundle(replace(bundle.tree, nodes=nodes), images), paths, remarks)


def _inside(tree: Tree, folder: str) -> str:
    """``folder`` in the tree's own words."""
    target = posixpath.normpath(folder)
    if target.startswith(("/", "..")):
        raise BundleFixError("libraries can be moved only inside the pack", where=folder)
    above = target
    while above not in tree.folders:
        if above in tree.nodes:
            raise BundleFixError(
                "libraries cannot be moved there: it is no folder", where=above,
                hint="--move-libraries names a folder of the pack",
            )  # fmt: skip
        above = posixpath.dirname(above)
    return target


def _planned(bundle: Bundle, target: str) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The new path of every member that moves, and why others stay."""
    folders = {posixpath.dirname(path) for path in bundle.programs()} - {target}
    libraries = [
        path
        for path in bundle.libraries()
        if posixpath.dirname(path) in folders and ".so" in posixpath.basename(path)
    ]
    leading = _links_beside(bundle, set(libraries))
    paths: dict[str, str] = {}
    remarks: dict[str, tuple[str, ...]] = {}
    for library in libraries:
        members = (library, *leading.get(library, ()))
        new = {path: posixpath.join(target, posixpath.basename(path)) for path in members}
        taken = [to for path, to in new.items() if not _is_free(bundle, path, to, paths)]
        if taken:
            remarks[library] = (f"stays where it is: {taken[0]} is another file",)
        else:
            paths |= new
    return paths, remarks


def _links_beside(bundle: Bundle, libraries: set[str]) -> dict[str, list[str]]:
    """The links that lead, inside one folder, to each library."""
    found: dict[str, list[str]] = {}
    for path, link in bundle.tree.links():
        end = resolve_path(bundle.tree, path)
        if end in libraries and "/" not in link.target:
            found.setdefault(str(end), []).append(path)
    return found


def _is_free(bundle: Bundle, path: str, new: str, paths: Mapping[str, str]) -> bool:
    """Whether ``path`` may move to ``new``: nothing is there, or the same already."""
    if new in paths.values():
        return False
    here, there = bundle.tree.nodes[path], bundle.tree.nodes.get(new)
    if there is None:
        return new not in bundle.tree.folders
    if isinstance(here, Symlink) and isinstance(there, Symlink):
        return here.target == there.target
    return (
        isinstance(here, File)
        and isinstance(there, File)
        and has_same_bytes(here.content, there.content)
    )


def _with_twin(node: Node, paths: Mapping[str, str]) -> Node:
    """``node``, a hard link to the new path of what it shares its bytes with."""
    if not isinstance(node, File) or node.twin is None or node.twin not in paths:
        return node
    return replace(node, twin=paths[node.twin], header=None)
