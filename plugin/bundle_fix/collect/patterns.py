"""What a pattern of a spec names on the disk."""

from __future__ import annotations

import glob
from collections.abc import Callable, Container, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from bundle_fix.model.errors import BundleFixError

Where: TypeAlias = Callable[[str], str]
"""Tells where in the spec a key of the entry at hand stands, as ``path:line:column``."""


def matches(root: Path, pattern: str, exclude: Sequence[str] = ()) -> list[Path]:
    """What a pattern names, each with all that is below it: nothing below another match.

    Args:
        root: the folder that relative patterns start from.
        pattern: a glob; ``**`` stands for folders at any depth.
        exclude: what not to find, as `is_excluded` takes it.
    """
    if pattern == "**" or pattern.endswith("/**"):
        # All that is below a folder is what lies in it, whole.
        pattern = pattern[:-1]
    # Path.glob takes neither absolute patterns nor root_dir.
    found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
    paths = (root / name for name in sorted(found))
    matches = {str(path): path for path in paths if not is_excluded(path, root, exclude)}
    return [path for name, path in matches.items() if not _lies_in_one(name, matches)]


def _lies_in_one(name: str, folders: Container[str]) -> bool:
    """Whether one of ``folders`` holds ``name``, at any depth."""
    above = name.rpartition("/")[0]
    while above and above not in folders:
        above = above.rpartition("/")[0]
    return bool(above)


def is_excluded(path: Path, root: Path, exclude: Iterable[str]) -> bool:
    """Whether a path is one of those that ``exclude`` leaves out.

    Args:
        path: the path, absolute or relative to where ``root`` is.
        root: the folder that relative patterns start from.
        exclude: globs; one without a slash is of names, in any other ``*`` spans folders too.
    """
    return any(
        fnmatchcase(str(path), str(root / glob))
        if "/" in glob.rstrip("/")
        else fnmatchcase(path.name, glob.rstrip("/"))
        for glob in exclude
    )


def nothing_matches(pattern: str, root: Path, where: str) -> BundleFixError:
    """The error that an entry of the spec, which stands at ``where``, finds nothing."""
    return BundleFixError(
        f"nothing matches {pattern} in {root}", where=where,
        hint="build it first, correct the path, or say `optional = true`",
    )  # fmt: skip
