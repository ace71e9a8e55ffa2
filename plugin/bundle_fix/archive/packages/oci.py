"""Reader of container images: ``docker save`` archives and OCI layouts, merged into one tree.

Sources: the OCI Image Format Specification (image layout, image index, manifest, layer), and
Docker's Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json
import platform
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.archive.packages.nested import open_nested_tar
from bundle_fix.model.content import Content, read_exactly
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError
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

LAYOUT, INDEX, SAVED = "oci-layout", "index.json", "manifest.json"
MAX_JSON = 16 << 20
"""Bytes of a JSON document of an image."""
MAX_DEPTH = 4
"""Levels of indexes within indexes."""
MAX_LAYERS = 1000
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""Machine names of uname(2) to Go's names, which OCI uses, if they differ."""


def is_container_image(tree: Tree) -> bool:
    """Return whether ``tree`` is an OCI layout or what ``docker save`` writes."""
    found = {name for name in (LAYOUT, INDEX, SAVED) if isinstance(tree.nodes.get(name), File)}
    return {LAYOUT, INDEX} <= found or (SAVED in found and _is_docker_archive(tree))


def _is_docker_archive(tree: Tree) -> bool:
    """Return whether manifest.json is Docker's: packs may have a file of that name too."""
    try:
        images = _read_json(tree, SAVED, Path(SAVED))
    except BundleFixError:
        return False
    return isinstance(images, list) and all(isinstance(i, dict) and "Layers" in i for i in images)


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
        for name in _list_layers(layout, path):
            left = replace(limits, used_size=size, used_members=count)
            blob = _get_blob(layout, name, path)
            tree = stack.enter_context(open_nested_tar(blob, name, path, left, progress))
            size += sum(file.content.size for _, file in tree.iter_files() if file.hardlink is None)
            count += len(tree.nodes)
            _apply_layer(nodes, tree)
        yield Tree(nodes, location=InstallLocation.ROOT)


def _list_layers(layout: Tree, path: Path) -> Sequence[str]:
    """Return the paths of the layers in ``layout``, the lowest first."""
    if isinstance(layout.nodes.get(LAYOUT), File):
        manifest = _find_manifest(layout, _read_json(layout, INDEX, path), path)
        names = [_get_blob_path(layer, path) for layer in _get_list(manifest, "layers", path)]
    else:
        images = _read_json(layout, SAVED, path)
        if len(images) != 1:
            raise _build_count_error(len(images), path)
        names = [str(name) for name in _get_list(images[0], "Layers", path)]
    if len(names) > MAX_LAYERS:
        raise BundleFixError(f"the image has more than {MAX_LAYERS} layers", where=str(path))
    return names


def _find_manifest(layout: Tree, index: Any, path: Path, depth: int = 0) -> Any:
    """Return the manifest of the only image in an index, or of the one for this machine.

    An index may refer to other indexes (OCI Image Index, "manifests").
    """
    if depth > MAX_DEPTH:
        raise BundleFixError(
            f"the image's indexes are nested more than {MAX_DEPTH} levels deep",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    entries = _get_list(index, "manifests", path)
    images = [e for e in entries if isinstance(e, dict) and not _is_attestation(e)]
    if len(images) > 1:
        here = ARCHITECTURES.get(platform.machine(), platform.machine())
        images = [image for image in images if _get_architecture(image) == here] or images
    names = {_get_blob_path(image, path) for image in images}
    if len(names) != 1:
        raise _build_count_error(len(names), path)
    document = _read_json(layout, names.pop(), path)
    if isinstance(document, dict) and "manifests" in document:
        return _find_manifest(layout, document, path, depth + 1)
    return document


def _build_count_error(count: int, path: Path) -> BundleFixError:
    return BundleFixError(
        f"it contains {count} images; only one image at a time can be read", where=str(path),
        hint="save one image into its own file",
    )  # fmt: skip


def _get_architecture(descriptor: dict[str, Any]) -> object:
    fields = descriptor.get("platform")
    return fields.get("architecture") if isinstance(fields, dict) else None


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    """Return whether an entry is an attestation about an image.

    BuildKit stores provenance and SBOMs beside an image, for the architecture ``unknown``.
    """
    return _get_architecture(descriptor) == "unknown"


def _get_blob_path(descriptor: Any, path: Path) -> str:
    """Return the path of a blob in a layout: ``blobs/<algorithm>/<encoded>`` of its digest."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    algorithm, _, value = str(digest).partition(":")
    if not algorithm.isalnum() or not value.isalnum():
        raise BundleFixError("invalid digest in the image manifest", where=str(path), hint=AGAIN)
    return f"blobs/{algorithm}/{value}"


def _get_list(document: Any, key: str, path: Path) -> list[Any]:
    values = document.get(key) if isinstance(document, dict) else None
    if not isinstance(values, list):
        raise BundleFixError(
            f"missing list {key!r} in the image manifest", where=str(path), hint=AGAIN
        )
    return values


def _get_blob(layout: Tree, name: str, path: Path) -> Content:
    # Within its archive, Docker writes a symlink for a layer that it has written before.
    end = resolve_path(layout, name)
    node = None if isinstance(end, Unresolved) else layout.nodes.get(end)
    if not isinstance(node, File):
        raise BundleFixError(
            f"{name} is missing from the image", where=str(path),
            hint="save the image with all its layers",
        )  # fmt: skip
    return node.content


def _read_json(layout: Tree, name: str, path: Path) -> Any:
    content = _get_blob(layout, name, path)
    if content.size > MAX_JSON:
        raise BundleFixError(
            f"{name} in the image is larger than {MAX_JSON >> 20} MiB", where=str(path),
            hint=UNTRUSTED,
        )  # fmt: skip
    with content.open() as reader:
        data = read_exactly(reader, 0, content.size)
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError) as error:
        raise BundleFixError(
            f"{name} in the image is not valid JSON", where=str(path), hint=AGAIN
        ) from error


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
