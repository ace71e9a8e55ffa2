"""The documents of a container image: its indexes and manifests, down to the list of its layers.

Sources: the OCI Image Format Specification (image layout, image index, manifest, configuration),
and Docker's Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json
import platform
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bundle_fix.model.content import Content, read_exactly
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError
from bundle_fix.model.symlinks import Unresolved
from bundle_fix.model.tree import File, Tree, resolve_path

LAYOUT, INDEX, SAVED = "oci-layout", "index.json", "manifest.json"
MAX_JSON = 4 << 20
"""Bytes of a JSON document of an image; registries accept no larger ones."""
MAX_DOCUMENTS = 200
"""Indexes and manifests in one image layout."""
MAX_LAYERS = 1000
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""Machine names of uname(2) to Go's names, which OCI uses, if they differ."""
ATTESTATION = "vnd.docker.reference.type"
"""The annotation of BuildKit's provenance and SBOMs, which are stored beside an image."""


class _Image(Struct, frozen=True):
    """The manifest of one image, and its platform: architecture and operating system, if known."""

    manifest: Any
    platform: dict[str, Any]


def is_container_image(tree: Tree) -> bool:
    """Return whether ``tree`` is an OCI layout or what ``docker save`` writes."""
    found = {name for name in (LAYOUT, INDEX, SAVED) if isinstance(tree.nodes.get(name), File)}
    return {LAYOUT, INDEX} <= found or (SAVED in found and _read_saved_images(tree) is not None)


def list_layers(layout: Tree, path: Path) -> Sequence[str]:
    """Return the paths of the layers of the only image in ``layout``, the lowest first.

    Of a multi-platform image, it is the one for this machine.

    Raises:
        BundleFixError: a document is invalid, there is not exactly one image, or the index and
            Docker's manifest.json disagree: the tools that load images read one or the other.
    """
    saved = [_list_saved_layers(image, path) for image in _read_saved_images(layout) or ()]
    is_layout = isinstance(layout.nodes.get(LAYOUT), File)
    images = _choose_platform(_find_images(layout, path)) if is_layout else []
    # The index of `docker save` lists no manifest if the image was selected by its ID.
    found = [_list_blobs(image.manifest, path) for image in images] or saved
    if len(found) != 1:
        raise BundleFixError(
            f"it contains {len(found)} images; only one image at a time can be read",
            where=str(path), hint="save one image into its own file",
        )  # fmt: skip
    names = found[0]
    if saved and not any(_is_same_list(layout, names, other) for other in saved):
        raise BundleFixError(
            f"{INDEX} and {SAVED} list different layers, so tools load different images",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    if len(names) > MAX_LAYERS:
        raise BundleFixError(
            f"the image has more than {MAX_LAYERS} layers", where=str(path), hint=UNTRUSTED
        )
    return names


def _read_saved_images(tree: Tree) -> list[dict[str, Any]] | None:
    """Return the images that Docker's manifest.json lists; None if the file is not Docker's.

    Packs may have a file of that name too.
    """
    if not isinstance(tree.nodes.get(SAVED), File):
        return None
    try:
        images = _read_json(tree, SAVED, Path(SAVED))
    except BundleFixError:
        return None
    is_docker = isinstance(images, list) and all(
        isinstance(image, dict) and "Layers" in image for image in images
    )
    return images if is_docker else None


def _list_saved_layers(image: dict[str, Any], path: Path) -> list[str]:
    return [str(name) for name in _get_list(image, "Layers", path)]


def _list_blobs(manifest: Any, path: Path) -> list[str]:
    return [_get_blob_path(layer, path) for layer in _get_list(manifest, "layers", path)]


def _is_same_list(layout: Tree, names: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether two lists of layers are the same files."""
    return [resolve_path(layout, n) for n in names] == [resolve_path(layout, n) for n in others]


def _find_images(layout: Tree, path: Path) -> list[_Image]:
    """Return the images in the index of a layout and in the indexes that it refers to.

    An index may list images of other platforms whose blobs were not saved.
    """
    waiting = deque(_get_list(_read_json(layout, INDEX, path), "manifests", path))
    seen: set[str] = set()
    images: list[_Image] = []
    missing: BundleFixError | None = None
    while waiting:
        descriptor = waiting.popleft()
        name = _get_blob_path(descriptor, path)
        if name in seen or _is_attestation(descriptor):
            continue
        seen.add(name)
        if len(seen) > MAX_DOCUMENTS:
            raise BundleFixError(
                f"the image has more than {MAX_DOCUMENTS} indexes and manifests",
                where=str(path), hint="save one image into its own file",
            )  # fmt: skip
        try:
            get_blob(layout, name, path)
        except BundleFixError as error:
            missing = missing or error
            continue
        document = _read_json(layout, name, path)
        if isinstance(document, dict) and "manifests" in document:
            waiting.extend(_get_list(document, "manifests", path))
        else:
            images.append(_Image(document, _find_platform(layout, descriptor, document, path)))
    if missing is not None and not images:
        raise missing
    return images


def _find_platform(layout: Tree, descriptor: Any, manifest: Any, path: Path) -> dict[str, Any]:
    """Return the platform of a descriptor, or else of the configuration of the image."""
    fields = descriptor.get("platform")
    if isinstance(fields, dict) and fields.get("architecture"):
        return fields
    config = manifest.get("config") if isinstance(manifest, dict) else None
    try:
        document = _read_json(layout, _get_blob_path(config, path), path)
    except BundleFixError:
        return {}
    return document if isinstance(document, dict) else {}


def _choose_platform(images: list[_Image]) -> list[_Image]:
    """Return the images for Linux on this machine; all if none or each is for it."""
    here = ARCHITECTURES.get(platform.machine(), platform.machine())
    for key, value in (("os", "linux"), ("architecture", here)):
        images = [i for i in images if i.platform.get(key) == value] or images
    return images


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    """Return whether an entry of an index is an attestation about an image."""
    annotations, fields = descriptor.get("annotations"), descriptor.get("platform")
    is_marked = isinstance(annotations, dict) and ATTESTATION in annotations
    return is_marked or (isinstance(fields, dict) and fields.get("architecture") == "unknown")


def _get_blob_path(descriptor: Any, path: Path) -> str:
    """Return the path of a blob in a layout: ``blobs/<algorithm>/<encoded>`` of its digest."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    algorithm, _, value = str(digest).partition(":")
    if not algorithm.isalnum() or not value.isalnum():
        raise BundleFixError("invalid digest in the image manifest", where=str(path), hint=AGAIN)
    return f"blobs/{algorithm}/{value}"


def _get_list(document: Any, key: str, path: Path) -> list[Any]:
    """Return a list; Go, in which the common tools are written, encodes an empty one as null."""
    values = document.get(key, 0) if isinstance(document, dict) else 0
    if values is None:
        return []
    if not isinstance(values, list):
        raise BundleFixError(
            f"missing list {key!r} in the image manifest", where=str(path), hint=AGAIN
        )
    return values


def get_blob(layout: Tree, name: str, path: Path) -> Content:
    """Return the content of a file of an image.

    Raises:
        BundleFixError: the image does not contain it.
    """
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
    content = get_blob(layout, name, path)
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
