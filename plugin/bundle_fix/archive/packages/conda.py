"""Reader of conda packages: ``.conda``, a zip archive of two tarballs, and ``.tar.bz2``.

Source: the conda documentation, "Package specification" and "Using the .conda format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.install_location import CONDA_INDEX
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.packages.nested import open_nested_tar
from bundle_fix.model.content import read_exactly
from bundle_fix.model.errors import UNTRUSTED, BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import Directory, File, Node, Tree

METADATA = "metadata.json"
COMPONENT = re.compile(r"(info|pkg)-[^/]+\.tar\.zst")
MAX_INDEX = 1 << 20
"""Bytes of the index of a package."""


def is_conda_archive(tree: Tree) -> bool:
    """Return whether the members of a zip archive are those of a ``.conda`` package."""
    return METADATA in tree.nodes and any(map(COMPONENT.fullmatch, tree.nodes))


@contextmanager
def read_conda(
    archive: Tree, path: Path, limits: Limits, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Merge the tarballs of a ``.conda`` package into the tree that is linked into a prefix.

    Args:
        archive: the members of the zip archive; their contents must be open.
        path: the package's name, for messages.
        limits: the limits for both tarballs together.
        progress: receives how much of each is unpacked.

    Raises:
        BundleFixError: a tarball is missing, damaged or exceeds ``limits``, or there are two.
    """
    nodes: dict[str, Node] = {}
    size = 0
    with ExitStack() as stack:
        for part in ("info", "pkg"):
            names = [name for name in archive.nodes if name.startswith(f"{part}-")]
            file = archive.nodes[names[0]] if len(names) == 1 else None
            if not isinstance(file, File):
                # conda unpacks the one with the name of the package, other tools the first.
                raise BundleFixError(
                    f"it contains {len(names)} tarballs {part}-*, not one", where=str(path),
                    hint=UNTRUSTED,
                )  # fmt: skip
            left = replace(limits, used_size=size, used_members=len(nodes))
            tree = stack.enter_context(
                open_nested_tar(file.content, names[0], path, left, progress)
            )
            size += sum(file.content.size for _, file in tree.iter_files() if not file.hardlink)
            for name, node in tree.nodes.items():
                if name in nodes and not isinstance(node, Directory):
                    raise BundleFixError(
                        f"two members have the name {name!r}", where=str(path), hint=UNTRUSTED
                    )
                nodes[name] = node
        yield add_requirements(Tree(nodes))


def add_requirements(tree: Tree) -> Tree:
    """Return the tree of a conda package with the names of the packages that it requires."""
    file = tree.nodes.get(CONDA_INDEX)
    if not isinstance(file, File):
        return tree
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_INDEX)) or b""
    try:
        index = json.loads(data)
    except (ValueError, RecursionError):
        return tree
    depends = index.get("depends") if isinstance(index, dict) else None
    names = [str(text).split() for text in depends] if isinstance(depends, list) else []
    # Names that start with two underscores are properties of the machine.
    found = (words[0] for words in names if words and not words[0].startswith("__"))
    return replace(tree, requires=tuple(dict.fromkeys(found)))
