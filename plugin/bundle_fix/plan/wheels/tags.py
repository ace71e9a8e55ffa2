"""The platform tags of a wheel in its file WHEEL (PEP 425 and 427)."""

from __future__ import annotations

import posixpath

from msgspec.structs import replace

from bundle_fix.archive.wheel import MAX_WHEEL_METADATA, WheelName, iter_metadata_files
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Tree


def find_metadata_directory(tree: Tree) -> str:
    """Return the directory NAME-VERSION.dist-info of a wheel.

    Raises:
        BundleFixError: the wheel has none, or several.
    """
    found = [posixpath.dirname(path) for path, _ in iter_metadata_files(tree, "WHEEL")]
    if len(found) != 1:
        raise BundleFixError(
            f"the wheel has {len(found)} directories with a file WHEEL, and not one",
            hint="build the wheel again",
        )
    return found[0]


def set_tags(tree: Tree, name: WheelName) -> Tree:
    """Return ``tree`` with the tags of its file name in WHEEL, as a wheel of one platform."""
    path = f"{find_metadata_directory(tree)}/WHEEL"
    node = tree.nodes[path]
    assert isinstance(node, File)  # noqa: S101 (find_metadata_directory returns that of a file)
    with node.content.open() as reader:
        text = reader.pread(0, MAX_WHEEL_METADATA).decode("utf-8", "replace")
    kept = [
        "Root-Is-Purelib: false" if line.lower().startswith("root-is-purelib:") else line
        for line in text.splitlines()
        if line.strip() and not line.lower().startswith("tag:")
    ]
    lines = [*kept, *(f"Tag: {tag}" for tag in name.list_tags())]
    content = BytesContent("".join(f"{line}\n" for line in lines).encode())
    return replace(tree, nodes={**tree.nodes, path: replace(node, content=content, header=None)})
