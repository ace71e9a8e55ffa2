"""Container images: what ``docker save`` writes and OCI layouts, their layers merged into one tree.

Only ever read. Sources: the OCI Image Format Specification (image layout, manifest, layer), and
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
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import (
    Directory,
    File,
    InstallLocation,
    Node,
    Symlink,
    Tree,
    Unresolved,
    resolve_path,
)

LAYOUT, INDEX, SAVED = "oci-layout", "index.json", "manifest.json"
MAX_JSON = 16 << 20
MAX_DEPTH = 4
"""Indexes within indexes."""
MAX_LAYERS = 1000
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""What Go, and with it OCI, calls the machines of uname(2), where it is another name."""


def is_container(tree: Tree) -> bool:
    """Whether ``tree`` is the layout of an image rather than what is in one."""
    has = {name for name in (LAYOUT, INDEX, SAVED) if isinstance(tree.nodes.get(name), File)}
    return {LAYOUT, INDEX} <= has or (SAVED in has and _is_saved(tree))


def _is_saved(tree: Tree) -> bool:
    try:
        images = _json(tree, SAVED, Path(SAVED))
    except BundleFixError:
        return False
    return isinstance(images, list) and all(isinstance(i, dict) and "Layers" in i for i in images)


@contextmanager
def merge_layers(
    layout: Tree, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The root file system that the layers of an image make, the later over the earlier.

    Args:
        layout: the image as it is stored; its contents must be open.
        path: its name, for messages.
        limits: how much may be in all layers together.
        progress: is told how much of each is unpacked.

    Raises:
        BundleFixError: it is damaged, or holds more than one image or more than ``limits`` allow.
    """
    with ExitStack() as stack:
        nodes: dict[str, Node] = {}
        size = count = 0
        for name in _layers(layout, path):
            left = replace(limits, used_size=size, used_members=count)
            blob = _blob(layout, name, path)
            tree = stack.enter_context(open_nested_tar(blob, name, path, left, progress))
            size += sum(file.content.size for _, file in tree.iter_files() if file.hardlink is None)
            count += len(tree.nodes)
            _lay_over(nodes, tree)
        yield Tree(nodes, location=InstallLocation.ROOT)


def _layers(layout: Tree, path: Path) -> Sequence[str]:
    """The paths of the layers in the layout, the lowest first."""
    if isinstance(layout.nodes.get(LAYOUT), File):
        manifest = _manifest(layout, _json(layout, INDEX, path), path)
        names = [_blob_path(layer, path) for layer in _list(manifest, "layers", path)]
    else:
        images = _json(layout, SAVED, path)
        if len(images) != 1:
            raise _many(len(images), path)
        names = [str(name) for name in _list(images[0], "Layers", path)]
    if len(names) > MAX_LAYERS:
        raise BundleFixError(f"the image has more than {MAX_LAYERS} layers", where=str(path))
    return names


def _manifest(layout: Tree, index: Any, path: Path, depth: int = 0) -> Any:
    """The manifest of the one image in an index, or of the one for this machine."""
    found = [m for m in _list(index, "manifests", path) if isinstance(m, dict) and not _is_note(m)]
    if len(found) > 1:
        here = ARCHITECTURES.get(platform.machine(), platform.machine())
        found = [m for m in found if _architecture(m) == here] or found
    names = {_blob_path(m, path) for m in found}
    if len(names) != 1 or depth > MAX_DEPTH:
        raise _many(len(names), path)
    document = _json(layout, names.pop(), path)
    if isinstance(document, dict) and "manifests" in document:
        return _manifest(layout, document, path, depth + 1)
    return document


def _many(count: int, path: Path) -> BundleFixError:
    return BundleFixError(
        f"it holds {count} images, and one is checked at a time", where=str(path),
        hint="save one image into a file of its own",
    )  # fmt: skip


def _architecture(manifest: dict[str, Any]) -> object:
    told = manifest.get("platform")
    return told.get("architecture") if isinstance(told, dict) else None


def _is_note(manifest: dict[str, Any]) -> bool:
    """Whether an entry is about an image: builders keep attestations beside what they build."""
    return _architecture(manifest) == "unknown"


def _blob_path(descriptor: Any, path: Path) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    algorithm, _, value = str(digest).partition(":")
    if not algorithm.isalnum() or not value.isalnum():
        raise BundleFixError("the image is damaged: a digest is none", where=str(path))
    return f"blobs/{algorithm}/{value}"


def _list(document: Any, key: str, path: Path) -> list[Any]:
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise BundleFixError(f"the image is damaged: it has no {key}", where=str(path))
    return found


def _blob(layout: Tree, name: str, path: Path) -> Content:
    # Docker links a layer that it saved already, within the tarball.
    end = resolve_path(layout, name)
    node = None if isinstance(end, Unresolved) else layout.nodes.get(end)
    if not isinstance(node, File):
        raise BundleFixError(
            f"the image has no {name}, of which it consists", where=str(path),
            hint="save it with all its layers",
        )  # fmt: skip
    return node.content


def _json(layout: Tree, name: str, path: Path) -> Any:
    content = _blob(layout, name, path)
    with content.open() as reader:
        data = read_exactly(reader, 0, content.size) if content.size <= MAX_JSON else None
    try:
        return json.loads(data or b"")
    except (ValueError, RecursionError) as error:
        raise BundleFixError(
            f"the image is damaged: {name} is no JSON", where=str(path),
            hint=AGAIN,
        ) from error  # fmt: skip


def _lay_over(nodes: dict[str, Node], layer: Tree) -> None:
    """Lay a layer over those below it: whiteouts hide what is there, members take its place."""
    lower = Tree(nodes, location=InstallLocation.ROOT)
    homes = _homes(lower, layer)
    _hide(nodes, *_hidden(lower, layer, homes))
    for name, node in layer.nodes.items():
        if posixpath.basename(name).startswith(WHITEOUT):
            continue
        place = _at(homes, name)
        twin = _at(homes, node.hardlink) if isinstance(node, File) and node.hardlink else None
        if isinstance(node, File):
            nodes[place] = replace(node, header=None, preceding=None, hardlink=twin)
        else:
            nodes[place] = replace(node, header=None, preceding=None)


def _at(homes: Mapping[str, str], name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(homes[folder], base)


def _hidden(lower: Tree, layer: Tree, homes: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """What a layer hides of those below: members with all in them, and folders' content."""
    whole, content = set(), set()
    for name, node in layer.nodes.items():
        folder, base = posixpath.split(name)
        if base == OPAQUE:
            content.add(homes[folder])
        elif base.startswith(WHITEOUT):
            whole.add(posixpath.join(homes[folder], base.removeprefix(WHITEOUT)))
        elif _at(homes, name) in lower.directories and not isinstance(node, Directory):
            whole.add(_at(homes, name))
    return whole, content


def _hide(nodes: dict[str, Node], whole: set[str], content: set[str]) -> None:
    if not whole and not content:
        return
    for name in list(nodes):
        folder, gone = name, name in whole
        while folder and not gone:
            folder = posixpath.dirname(folder)
            gone = folder in whole or folder in content
        if gone and name:
            del nodes[name]


def _homes(lower: Tree, layer: Tree) -> dict[str, str]:
    """Where each folder of a layer is: a folder that is a link below may be one for its members."""
    homes: dict[str, str] = {"": ""}
    for folder in sorted(layer.directories):
        if folder:
            parent = homes[posixpath.dirname(folder)]
            place = posixpath.join(parent, posixpath.basename(folder))
            if folder not in layer.nodes and isinstance(lower.nodes.get(place), Symlink):
                end = resolve_path(lower, place)
                place = place if isinstance(end, Unresolved) else end
            homes[folder] = place
    return homes
