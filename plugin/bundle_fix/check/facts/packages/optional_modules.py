"""Extension modules that a Python package can do without: each import of them may fail.

A package imports such a module in a ``try`` statement that handles ImportError, and uses it only if
the libraries that it needs are installed: numba does so with its threading layers.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping

from bundle_fix.archive.wheel import is_wheel
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.content import Content, read_exactly
from bundle_fix.model.tree import Tree

HANDLED = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
"""Exceptions whose handler also handles a failed import."""
MAX_SOURCE = 1 << 20
"""Bytes of a Python file that is searched."""


def find_optional_modules(
    bundle: Bundle, plugins: Mapping[str, Process], known_facts: FactCache
) -> frozenset[str]:
    """Return the extension modules that lack a library, and whose every import may fail.

    Args:
        bundle: the wheel; its contents must be open. Other artifacts have no such modules.
        plugins: the processes of the libraries that are only opened at run time, by path.
        known_facts: the facts of earlier checks; those about Python files are added.
    """
    modules = {
        path: posixpath.basename(path).partition(".")[0]
        for path, process in (plugins.items() if is_wheel(bundle.tree) else ())
        if any(need.result.origin is ObjectOrigin.MISSING for need in process.resolutions)
    }
    required: set[str] = set()
    optional: set[str] = set()
    for content, source in _read_sources(bundle.tree) if modules else ():
        mentioned = {name for name in modules.values() if name.encode() in source}
        if mentioned and (content, _iter_imports) not in known_facts:
            known_facts[content, _iter_imports] = frozenset(_iter_imports(source))
        for name, is_handled in known_facts[content, _iter_imports] if mentioned else ():
            if name in mentioned:
                (optional if is_handled else required).add(name)
    return frozenset(path for path, name in modules.items() if name in optional - required)


def _read_sources(tree: Tree) -> Iterator[tuple[Content, bytes]]:
    for path, file in tree.iter_files():
        if path.endswith(".py") and file.content.size <= MAX_SOURCE:
            with file.content.open() as reader:
                yield file.content, read_exactly(reader, 0, file.content.size) or b""


def _iter_imports(source: bytes) -> Iterator[tuple[str, bool]]:
    """Yield the last part of each imported name, and whether a failed import is handled."""
    try:
        pending: list[tuple[ast.AST, bool]] = [(ast.parse(source), False)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    while pending:
        node, is_handled = pending.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for name in (*(alias.name for alias in node.names), *filter(None, [module])):
                yield name.rpartition(".")[2], is_handled
        is_guard = isinstance(node, ast.Try) and any(map(_handles_failed_import, node.handlers))
        body = node.body if isinstance(node, ast.Try) else ()
        pending += (
            (child, is_handled or (is_guard and child in body))
            for child in ast.iter_child_nodes(node)
        )


def _handles_failed_import(handler: ast.ExceptHandler) -> bool:
    """Return whether the code goes on after a failed import: the handler raises nothing."""
    caught = list(ast.walk(handler.type)) if handler.type is not None else []
    names = {n.attr if isinstance(n, ast.Attribute) else getattr(n, "id", "") for n in caught}
    raises = any(isinstance(node, ast.Raise) for part in handler.body for node in ast.walk(part))
    return not raises and (handler.type is None or not HANDLED.isdisjoint(names))
