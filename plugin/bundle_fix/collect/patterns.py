"""Matching of a spec's globs with the files on the disk."""

from __future__ import annotations

import glob
from collections.abc import Callable, Container, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from bundle_fix.model.errors import BundleFixError

KeyLocator: TypeAlias = Callable[[str], str]
"""Function that returns the position of a key of an entry, as ``path:line:column``."""


def find_matches(root: Path, pattern: str, exclude: Sequence[str] = ()) -> list[Path]:
    """Return the paths that a glob matches, without those below another match.

    Args:
        root: the directory that relative patterns start from.
        pattern: a glob; ``**`` matches directories at any depth.
        exclude: globs of paths to leave out; see `is_excluded`.
    """
    if pattern == "**" or pattern.endswith("/**"):
        # The items of the directory: each of them is taken with everything below it.
        pattern = pattern[:-1]
    # Path.glob takes neither absolute patterns nor root_dir.
    found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
    paths = (root / name for name in sorted(found))
    matches = {str(path): path for path in paths if not is_excluded(path, root, exclude)}
    return [path for name, path in matches.items() if not _is_below_any(name, matches)]


def _is_below_any(name: str, directories: Container[str]) -> bool:
    """Return whether ``name`` is below one of ``directories``, at any depth."""
    above = name.rpartition("/")[0]
    while above and above not in directories:
        above = above.rpartition("/")[0]
    return bool(above)


def is_excluded(path: Path, root: Path, exclude: Iterable[str]) -> bool:
    """Return whether a glob of ``exclude`` matches a path.

    Args:
        path: the path, absolute or relative to the same directory as ``root``.
        root: the directory that relative patterns start from.
        exclude: globs. One without a slash matches names; in any other ``*`` matches slashes too.
    """
    return any(
        fnmatchcase(str(path), str(root / glob))
        if "/" in glob.rstrip("/")
        else fnmatchcase(path.name, glob.rstrip("/"))
        for glob in exclude
    )


def build_no_match_error(pattern: str, root: Path, where: str) -> BundleFixError:
    """Return the error for an entry of the spec at ``where`` that matches no file."""
    return BundleFixError(
        f"no file matches {pattern} in {root}", where=where,
        hint="build it first, correct the path, or add `optional = true`",
    )  # fmt: skip
