"""Folders changed in place: new files are written beside the old ones, then take their names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bundle_fix.artifacts.directory import write_content
from bundle_fix.artifacts.output import hidden_name
from bundle_fix.content import PathContent
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Symlink, Tree


def update_directory(
    before: Tree, after: Tree, root: Path, approve: Callable[[Tree], bool]
) -> bool:
    """Make the folder ``root``, whose tree is ``before``, into ``after``.

    Each changed member is written under a hidden name beside its place; only when ``approve`` likes
    the whole, read back from the disk, does each take its name by a rename.

    Returns:
        What ``approve`` said; where it said no, the folder is as it was.

    Raises:
        BundleFixError: a member cannot be written.
    """
    changed = {p: n for p, n in after.nodes.items() if before.nodes.get(p) != n}
    try:
        with ExitStack() as hidden:
            waiting: dict[str, Path] = {}
            nodes: dict[str, Node] = dict(after.nodes)
            for path, node in changed.items():
                if isinstance(node, File | Symlink):
                    place = hidden_name(root / path)
                    hidden.callback(place.unlink, missing_ok=True)
                    nodes[path] = _written(node, place)
                    waiting[path] = place
            if not approve(Tree(nodes, after.top)):
                return False
            for path, place in waiting.items():
                place.replace(root / path)
            for path, node in changed.items():
                if isinstance(node, Directory):
                    (root / path).chmod(node.stamp.mode)
            return True
    except OSError as error:
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(error.filename or root)
        ) from error


def _written(node: File | Symlink, place: Path) -> Node:
    if isinstance(node, Symlink):
        place.symlink_to(node.target)
        return node
    write_content(node, place)
    return replace(node, content=PathContent(place, node.content.size))
