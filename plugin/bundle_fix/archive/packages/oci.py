"""Reader of container images: ``docker save`` archives and OCI layouts, merged into one tree.

Source: the OCI Image Format Specification, "Image Layer Filesystem Changeset".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.archive.packages.nested import open_nested_tar
from bundle_fix.archive.packages.oci_index import get_blob, list_layers
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.symlinks import Unresolved
from bundle_fix.model.tree import (
    Directory,
    File,
    InstallLocation,
    Node,
    Symlink,
    Tree,
    resolve_path,
)

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@contextmanager
def merge_layers(
    layout: Tree, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Merge the layers of an image into its root file system; later layers win.

    Args:
        layout: the files of which the image consists; their contents must be open.
        path: the image's name, for messages.
        limits: the limits for all layers together.
        progress: receives how much of each layer is unpacked.

    Raises:
        BundleFixError: the image is damaged, there is not exactly one, or it exceeds ``limits``.
    """
    with ExitStack() as stack:
        nodes: dict[str, Node] = {}
        size = count = 0
        for name in list_layers(layout, path):
            left = replace(limits, used_size=size, used_members=count)
            blob = get_blob(layout, name, path)
            tree = stack.enter_context(open_nested_tar(blob, name, path, left, progress))
            size += sum(file.content.size for _, file in tree.iter_files() if file.hardlink is None)
            count += len(tree.nodes)
            _apply_layer(nodes, tree)
        yield Tree(nodes, location=InstallLocation.ROOT)


def _apply_layer(nodes: dict[str, Node], layer: Tree) -> None:
    """Apply a layer to the layers below it (OCI, "Applying Changesets")."""
    lower = Tree(nodes, location=InstallLocation.ROOT)
    locations = _locate_directories(lower, layer)
    _remove_hidden(nodes, *_find_hidden(lower, layer, locations))
    for name, node in layer.nodes.items():
        if posixpath.basename(name).startswith(WHITEOUT):
            continue
        path = _translate_path(locations, name)
        # Headers and preceding bytes belong to the layer's own tarball.
        if isinstance(node, File | Symlink):
            link = _translate_path(locations, node.hardlink) if node.hardlink else None
            nodes[path] = replace(node, header=None, preceding=None, hardlink=link)
        else:
            nodes[path] = replace(node, header=None, preceding=None)


def _translate_path(locations: Mapping[str, str], name: str) -> str:
    """Return the path in the merged tree of a member of a layer."""
    directory, base = posixpath.split(name)
    return posixpath.join(locations[directory], base)


def _find_hidden(
    lower: Tree, layer: Tree, locations: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """Return the paths that a layer hides (OCI, "Whiteouts").

    Returns:
        The members that are hidden with everything in them, and the directories of which only the
        contents are hidden.
    """
    members, contents = set(), set()
    for name, node in layer.nodes.items():
        directory, base = posixpath.split(name)
        path = _translate_path(locations, name)
        if base == OPAQUE:
            contents.add(locations[directory])
        elif base.startswith(WHITEOUT):
            members.add(posixpath.join(locations[directory], base.removeprefix(WHITEOUT)))
        elif path in lower.directories and not isinstance(node, Directory):
            members.add(path)
    return members, contents


def _remove_hidden(nodes: dict[str, Node], members: set[str], contents: set[str]) -> None:
    if not members and not contents:
        return
    for name in list(nodes):
        directory, is_hidden = name, name in members
        while directory and not is_hidden:
            directory = posixpath.dirname(directory)
            is_hidden = directory in members or directory in contents
        if is_hidden and name:
            del nodes[name]


def _locate_directories(lower: Tree, layer: Tree) -> dict[str, str]:
    """Return the path in the merged tree of each directory of a layer.

    A directory that the layer has no entry of its own for may be a symlink in a lower layer; the
    layer's members are then in the target, as if the layer was unpacked over the lower ones.
    """
    locations: dict[str, str] = {"": ""}
    for directory in sorted(layer.directories):
        if directory:
            parent, base = posixpath.split(directory)
            path = posixpath.join(locations[parent], base)
            if directory not in layer.nodes and isinstance(lower.nodes.get(path), Symlink):
                end = resolve_path(lower, path)
                path = path if isinstance(end, Unresolved) else end
            locations[directory] = path
    return locations
