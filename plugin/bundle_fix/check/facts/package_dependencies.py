"""Packages that an artifact says it is installed with: what it lacks may be in one of them.

Wheels and npm packages are taken apart by their makers: the RUNPATH of one leads to the folder that
another brings.
Sources: the core metadata specifications (Requires-Dist); npm's documentation, "package.json".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from bundle_fix.archive.wheel import INFO
from bundle_fix.model.content import read_exactly
from bundle_fix.model.tree import File, Tree

REQUIRED = re.compile(r"^Requires-Dist:\s*([A-Za-z0-9][\w.-]*)(?!.*\bextra\s*==)", re.MULTILINE)
OF_NPM = ("dependencies", "optionalDependencies", "peerDependencies")
GENERIC = frozenset({"bin", "lib", "lib32", "lib64", "libs", "node_modules", "site_packages"})
"""Folders that belong to no package in particular."""
MAX_METADATA = 1 << 20


def dependencies(tree: Tree) -> tuple[str, ...]:
    """The packages that a wheel or an npm package wants beside itself; none for anything else."""
    found: list[str] = []
    for path, file in tree.iter_files():
        if path == "package.json":
            found += _of_npm(_text(file))
        elif path.count("/") == 1 and path.endswith(f"{INFO}/METADATA"):
            headers, _, _ = _text(file).partition("\n\n")
            found += REQUIRED.findall(headers)
    return tuple(dict.fromkeys(found))


def _of_npm(text: str) -> Iterator[str]:
    try:
        package = json.loads(text)
    except (ValueError, RecursionError):
        return
    for key in OF_NPM:
        wanted = package.get(key) if isinstance(package, dict) else None
        yield from wanted if isinstance(wanted, dict) else ()


def _text(file: File) -> str:
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_METADATA)) or b""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def leads_to(entry: str, packages: Sequence[str]) -> str | None:
    """The package whose name stands in a search path entry, whole or as a part of its name.

    ``$ORIGIN/../../cublas/lib`` leads to ``nvidia-cublas-cu12``.
    """
    folders = _folders(entry) if packages else frozenset[str]()
    for package in packages:
        name = f"_{_normal(package.rpartition('/')[2])}_"
        if any(f"_{folder}_" in name for folder in folders):
            return package
    return None


def holders(name: str, entries: Iterable[str], packages: Sequence[str]) -> list[str]:
    """The packages that may have the library ``name``, by the search path entries of its user.

    Those whose folder is called like the library, or else all that an entry leads to.
    """
    found = {package: entry for entry in entries if (package := leads_to(entry, packages))}
    like = [p for p, entry in found.items() if any(f in _normal(name) for f in _folders(entry))]
    return like or list(found)


def _folders(entry: str) -> frozenset[str]:
    return frozenset(map(_normal, entry.split("/")[1:])) - GENERIC - {""}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).strip("_").lower()
