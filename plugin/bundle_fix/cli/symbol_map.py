"""The file of ``--rename-dynamic-symbols``."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.model.errors import BundleFixError


def read_symbol_map(path: Path) -> tuple[tuple[str, str], ...]:
    """Read the old and new names of symbols from a file, one pair per line.

    As in patchelf, a line without a name ends the list.

    Raises:
        BundleFixError: The file cannot be read, or a line is not a pair of names without versions.
    """
    pairs: dict[str, str] = {}
    try:
        lines = path.read_text("utf-8", "surrogateescape").split("\n")
    except OSError as error:
        raise BundleFixError(
            f"cannot open the map file: {error.strerror}", where=str(path)
        ) from error
    for number, line in enumerate(lines, 1):
        names = line.split()
        if not names:
            break
        problem = ""
        if len(names) < 2:
            problem = "the second name is missing"
        elif names[0] in pairs:
            problem = f"{names[0]!r} appears twice"
        elif "@" in names[0] + names[1]:
            problem = f"{names[0]} {names[1]} contains a version; omit the '@' and what follows"
        if problem:
            raise BundleFixError(problem, where=f"{path}:{number}")
        pairs[names[0]] = names[1]
    return tuple(pairs.items())
