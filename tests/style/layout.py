"""The packages of bundle_fix, from top to bottom, and the imports between them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "plugin" / "bundle_fix"

ORDER = (
    "cli", "build", "integrations", "draft", "report", "pipelines", "diff", "observe", "run",
    "check", "policy", "manifest", "debug", "collect", "plan", "loader", "archive", "storage",
    "elf", "subprocesses", "spec", "model", "cmake",
)  # fmt: skip
"""A module imports from its own package and from those after it."""

MANY_MODULES = {"cli", "check/rules", "report/render"}
"""Packages with one module per command, family of rules or format: any number."""


class Import(NamedTuple):
    """One import of a module of the package by another."""

    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def find_modules() -> dict[str, Path]:
    """Return the path of every module by its dotted name below ``bundle_fix``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def find_imports() -> list[Import]:
    """Return every import between two modules, those inside functions included."""
    modules = find_modules()
    found = [
        Import(name, target)
        for name, path in modules.items()
        for target in find_targets(path, modules)
    ]
    return [pair for pair in found if pair.importer != pair.imported]


def find_targets(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that one file imports, but not those that only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bundle_fix."):
            package = str(node.module).removeprefix("bundle_fix.")
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield inner if inner in modules else package


def find_reachable(modules: Iterable[str], excluded: str) -> set[str]:
    """Return some modules and all that they import, directly or not.

    Imports are not followed into modules whose names begin with ``excluded``.
    """
    imports = [pair for pair in find_imports() if not pair.imported.startswith(excluded)]
    reached, added = set(modules), set(modules)
    while added:
        added = {pair.imported for pair in imports if pair.importer in added} - reached
        reached |= added
    return reached


def get_room(module: str) -> str:
    """Return the top-level package of a module."""
    return module.partition(".")[0]
