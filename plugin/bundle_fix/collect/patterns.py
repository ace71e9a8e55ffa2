"""What a pattern of a spec names on the disk."""

from __future__ import annotations

import glob
from pathlib import Path

from bundle_fix.errors import BundleFixError


def matches(root: Path, pattern: str) -> list[Path]:
    """What a pattern names, each with all that is below it: nothing below another match."""
    if pattern == "**" or pattern.endswith("/**"):
        # All that is below a folder is what lies in it, whole.
        pattern = pattern[:-1]
    # Path.glob takes neither absolute patterns nor root_dir.
    found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
    matches = dict.fromkeys(root / name for name in sorted(found))
    return [path for path in matches if not any(above in matches for above in path.parents)]


def nothing_matches(pattern: str, root: Path, where: str) -> BundleFixError:
    """The error that an entry of the spec, which stands at ``where``, finds nothing."""
    return BundleFixError(
        f"nothing matches {pattern} in {root}", where=where,
        hint="build it first, correct the path, or say `optional = true`",
    )  # fmt: skip
