"""Inputs of a pack for a depfile: every file and directory whose change would change the pack."""

from __future__ import annotations

import glob
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bundle_fix.collect.pack_builder import Origin
from bundle_fix.loader.hosts.cache import CACHE_PATH
from bundle_fix.spec.model import Spec
from bundle_fix.spec.sources import CMAKE_CACHE
from bundle_fix.spec.table_types import FilesEntry, LibrariesEntry
from bundle_fix.spec.variables import Values, evaluate_when, substitute_variables


def find_inputs(
    spec: Spec, values: Values, root: Path, origins: Mapping[str, Origin], made: Sequence[Path]
) -> list[Path]:
    """Return the files and directories that a pack was made from, and this tool's own files.

    Args:
        spec: the spec.
        values: its variables, as they were looked up.
        root: the directory that its paths are relative to.
        origins: where each member of the pack comes from.
        made: the files that the run wrote, the pack first. Their directories change with every
            run, as does that of CMake's cache, so they are left out. The pack itself is one of
            the inputs: if it was removed, it must be made again.
    """
    changing = {path.resolve().parent for path in made}
    found: dict[Path, None] = {spec.path.resolve(): None}
    found |= {path.resolve(): None for path in values.consulted if path.is_file()}
    found |= {o.source: None for o in origins.values() if o.source is not None}
    if any(origin.from_closure for origin in origins.values()) and CACHE_PATH.exists():
        found[CACHE_PATH] = None
    for path in _find_searched_directories(spec, values, root):
        if path.resolve() not in changing and not (path / CMAKE_CACHE).exists():
            found[path] = None
    return [*found, *_find_own_files(), made[0].resolve()]


def format_make_rule(target: Path, inputs: Iterable[Path]) -> str:
    """Return a make rule by which ``target`` depends on ``inputs``; names may hold anything."""
    names = " \\\n  ".join(_escape_name(path) for path in inputs)
    return f"{_escape_name(target)}: {names}\n"


def _escape_name(path: Path) -> str:
    """Escape a name as compilers do in depfiles, so that make, Ninja and CMake read the same."""
    return re.sub(r"([ #\\])", r"\\\1", str(path)).replace("$", "$$")


def _find_searched_directories(spec: Spec, values: Values, root: Path) -> Iterator[Path]:
    """Yield the directories that were searched for members, and the symlinks found there."""
    entries: tuple[FilesEntry | LibrariesEntry, ...] = (*spec.files, *spec.libraries)
    for entry in entries:
        if entry.source is not None and evaluate_when(entry.when, values):
            yield from _find_matched(root, substitute_variables(entry.source, values))
    for library in spec.libraries:
        if library.name is not None and evaluate_when(library.when, values):
            directories = [root / substitute_variables(text, values) for text in library.search]
            yield from _find_library_search(substitute_variables(library.name, values), directories)


def _find_matched(root: Path, pattern: str) -> Iterator[Path]:
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        if glob.has_magic(part):
            above = "/".join(parts[:number]) or ("/" if pattern.startswith("/") else ".")
            yield from _glob_directories(root, f"{above}/**/" if part == "**" else above)
    found = _glob_sorted(root, pattern)
    for path in found:
        yield from (Path(directory) for directory, _, _ in os.walk(path))
        if path.is_symlink():
            yield path
    if not found and not glob.has_magic(pattern):
        yield from _glob_directories(root, posixpath.dirname(pattern) or ".")


def _glob_directories(root: Path, pattern: str) -> Iterator[Path]:
    return (path for path in _glob_sorted(root, pattern) if path.is_dir())


def _glob_sorted(root: Path, pattern: str) -> list[Path]:
    found = sorted(glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207
    return [Path(os.path.normpath(root / name)) for name in found]


def _find_library_search(name: str, directories: Iterable[Path]) -> Iterator[Path]:
    """Yield the library that was found, and the earlier directories, where it may appear."""
    for directory in directories:
        if (directory / name).exists():
            yield Path(os.path.normpath(directory / name))
            return
        if directory.is_dir():
            yield directory


def _find_own_files() -> Iterator[Path]:
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.partition(".")[0] == "bundle_fix":
            yield Path(path)
