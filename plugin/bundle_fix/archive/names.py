"""The names of an archive's members as paths of a tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, Tree

MAX_NAME = 4096
"""Characters of the longest name that a kernel takes (PATH_MAX)."""
WELL_KNOWN = frozenset({"bin", "sbin", "lib", "lib64", "libexec", "usr", "opt", "etc", "share"})
"""Folders that a pack consists of: never the one folder around all of it."""


def clean_name(name: str, path: Path) -> str:
    """A member's name without ``./`` and doubled slashes.

    Raises:
        BundleFixError: it is absolute, or leaves the folder it is unpacked in.
    """
    if len(name) > MAX_NAME:
        raise BundleFixError(
            f"the name of the member {name[:40]!r}… is longer than any system allows",
            where=str(path),
        )
    if "\0" in name:
        raise BundleFixError(f"the name of the member {name[:40]!r} holds a NUL", where=str(path))
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise BundleFixError(
            f"the member {name!r} would be unpacked outside the folder it is unpacked in",
            where=str(path),
            hint="an archive like this one must not be trusted",
        )
    return "/".join(parts)


def find_top_directory(members: Iterable[tuple[str, bool]]) -> str:
    """The one folder that holds everything, or empty.

    Args:
        members: the clean name of each, and whether it is a folder.
    """
    members = list(members)
    firsts = {name.split("/", 1)[0] for name, _ in members if name}
    if len(firsts) != 1:
        return ""
    top = firsts.pop()
    is_folder = all(folder for name, folder in members if name == top)
    return top if is_folder and top not in WELL_KNOWN else ""


def make_tree_path(name: str, top: str) -> str:
    """A member's path in the tree; a name outside ``top`` makes one that no member has."""
    if not top or name in ("", top):
        return "" if name == top else name
    return name[len(top) + 1 :] if name.startswith(f"{top}/") else f"../{name}"


def strip_top(name: str, top: str) -> str:
    """A clean name without the folder ``top`` that holds everything; ``top`` itself is empty."""
    return name[len(top) + 1 :] if top else name


def check_parents(tree: Tree, path: Path) -> None:
    """See that what has members in it is a folder.

    Raises:
        BundleFixError: something else is.
    """
    for folder in tree.directories:
        node = tree.nodes.get(folder)
        if not isinstance(node, Directory | None):
            raise BundleFixError(
                f"the archive has members in {folder!r}, which is no folder in it",
                where=str(path),
                hint="an archive like this one must not be trusted",
            )
