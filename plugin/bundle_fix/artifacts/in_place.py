"""Folders changed in place: new files are written beside the old ones, then take their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from bundle_fix.artifacts.directory import put_stamp, write_content
from bundle_fix.artifacts.output import hidden_name
from bundle_fix.content import PathContent
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Symlink, Tree, settled


def update_directory(
    before: Tree, after: Tree, root: Path, approve: Callable[[Tree], bool]
) -> bool:
    """Make the folder ``root``, whose tree is ``before``, into ``after``.

    Each changed member is written under a hidden name beside its place; only when ``approve`` likes
    the whole, read back from the disk, does each take its name by a rename. Files that ``after``
    does not have go last.

    Returns:
        What ``approve`` said; where it said no, the folder is as it was.

    Raises:
        BundleFixError: a member cannot be written.
    """
    changed = {p: n for p, n in after.nodes.items() if before.nodes.get(p) != n}
    path = ""
    try:
        with ExitStack() as hidden:
            waiting: dict[str, Path] = {}
            nodes: dict[str, Node] = dict(after.nodes)
            for path, node in changed.items():
                if isinstance(node, File | Symlink) and not _same_bytes(before, path, node):
                    place = hidden_name(root / path)
                    _make_folders(place.parent, hidden)
                    hidden.callback(place.unlink, missing_ok=True)
                    nodes[path] = _written(node, place, after, root, waiting)
                    waiting[path] = place
            if not approve(replace(after, nodes=nodes)):
                return False
            for path, place in waiting.items():
                place.replace(root / path)
            for path, node in changed.items():
                if path not in waiting and isinstance(node, Directory | File):
                    (root / path).chmod(node.stamp.mode)
            for path in before.nodes:
                if path not in after.nodes:
                    (root / path).unlink()
            return True
    except OSError as error:
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(root / path)
        ) from error


def _make_folders(folder: Path, made: ExitStack) -> None:
    """Make a folder and those above it; the ones that stay empty go when ``made`` ends."""
    if folder.is_dir():
        return
    _make_folders(folder.parent, made)
    folder.mkdir()
    made.callback(_remove_empty, folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _same_bytes(before: Tree, path: str, node: Node) -> bool:
    """Whether nothing but the stamp of a file has changed."""
    old = before.nodes.get(path)
    return (
        isinstance(node, File)
        and isinstance(old, File)
        and (node.content, node.twin) == (old.content, old.twin)
    )


def _written(
    node: File | Symlink, place: Path, after: Tree, root: Path, waiting: Mapping[str, Path]
) -> Node:
    if isinstance(node, Symlink):
        place.symlink_to(node.target)
        put_stamp(place, node.stamp, follow=False)
        return node
    node = settled(after, node)
    if node.twin is not None:
        place.hardlink_to(waiting.get(node.twin, root / node.twin))
    else:
        write_content(node, place)
    return replace(node, content=PathContent(place, node.content.size))
