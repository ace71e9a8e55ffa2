"""Names of archive members, cleaned and converted to paths of a tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bundle_fix.model.errors import UNTRUSTED, BundleFixError
from bundle_fix.model.tree import Directory, Tree

MAX_NAME = 4096
"""Characters of the longest path that Linux accepts (PATH_MAX, path_resolution(7))."""
PACK_DIRECTORIES = frozenset(
    {"bin", "sbin", "lib", "lib64", "libexec", "usr", "opt", "etc", "share"}
)
"""Directories of a pack's own layout: never the top directory around the whole pack."""


def clean_name(name: str, path: Path) -> str:
    """Return a member's name without ``./`` and repeated slashes.

    Args:
        name: the name in the archive.
        path: the archive, for messages.

    Raises:
        BundleFixError: it is absolute, contains ``..`` or NUL, or is longer than `MAX_NAME`.
    """
    if len(name) > MAX_NAME:
        raise BundleFixError(
            f"the name of the member {name[:40]!r}… is longer than {MAX_NAME} characters",
            where=str(path),
            hint=UNTRUSTED,
        )
    if "\0" in name:
        raise BundleFixError(
            f"the name of the member {name[:40]!r} contains a NUL character",
            where=str(path),
            hint=UNTRUSTED,
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise BundleFixError(
            f"the member {name!r} would be unpacked outside the target directory",
            where=str(path),
            hint=UNTRUSTED,
        )
    return "/".join(parts)


def find_top_directory(members: Iterable[tuple[str, bool]]) -> str:
    """Return the name of the one directory that contains all members, or empty.

    Args:
        members: the clean name of each, and True for a directory.
    """
    members = list(members)
    first_parts = {name.split("/", 1)[0] for name, _ in members if name}
    if len(first_parts) != 1:
        return ""
    top = first_parts.pop()
    # An archive may lack an entry for its top directory.
    is_directory = all(flag for name, flag in members if name == top)
    return top if is_directory and top not in PACK_DIRECTORIES else ""


def get_tree_path(name: str, top: str) -> str:
    """Return a member's path in the tree; ``../name`` if it is outside ``top``."""
    if not top or name in ("", top):
        return "" if name == top else name
    return name[len(top) + 1 :] if name.startswith(f"{top}/") else f"../{name}"


def strip_top(name: str, top: str) -> str:
    """Return a clean name without the top directory ``top``; empty for ``top`` itself."""
    return name[len(top) + 1 :] if top else name


def check_parents(tree: Tree, path: Path) -> None:
    """Raise an error if a member that other members are below is not a directory.

    Raises:
        BundleFixError: a file, symlink or special file has members below it.
    """
    for directory in tree.directories:
        node = tree.nodes.get(directory)
        if not isinstance(node, Directory | None):
            raise BundleFixError(
                f"the archive has members below {directory!r}, which is not a directory",
                where=str(path),
                hint=UNTRUSTED,
            )
