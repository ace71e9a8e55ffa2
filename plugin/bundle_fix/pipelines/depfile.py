"""What a pack was made from: every file and folder whose change would make another pack."""

from __future__ import annotations

import glob
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bundle_fix.collect.collection import Origin
from bundle_fix.loader.hosts.cache import CACHE_PATH
from bundle_fix.spec.model import FilesEntry, LibrariesEntry, Spec
from bundle_fix.spec.sources import CMAKE_CACHE
from bundle_fix.spec.variables import Values, evaluate_when, substitute


def find_inputs(
    spec: Spec, values: Values, root: Path, origins: Mapping[str, Origin], made: Sequence[Path]
) -> list[Path]:
    """The files and folders that a pack was made from, and this tool's own files.

    Args:
        spec: the spec.
        values: its variables, as they were looked up.
        root: the folder that its paths are relative to.
        origins: where each member of the pack comes from.
        made: what the run wrote, the pack first. The folders that hold it change with every run, as
            does the one of CMake's cache, so they are left out. The pack itself is among what is
            returned: where it was removed, it must be made again.
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
    """A rule for make: ``target`` is as old as ``inputs``, whose names may hold anything."""
    names = " \\\n  ".join(_escape_name(path) for path in inputs)
    return f"{_escape_name(target)}: {names}\n"


def _escape_name(path: Path) -> str:
    """A name as compilers write it into such rules: what make, Ninja and CMake read alike."""
    return re.sub(r"([ #\\])", r"\\\1", str(path)).replace("$", "$$")


def _find_searched_directories(spec: Spec, values: Values, root: Path) -> Iterator[Path]:
    """The folders that were looked through for what is packed, and the links found there."""
    entries: tuple[FilesEntry | LibrariesEntry, ...] = (*spec.files, *spec.libraries)
    for entry in entries:
        if entry.source is not None and evaluate_when(entry.when, values):
            yield from _find_matched(root, substitute(entry.source, values))
    for library in spec.libraries:
        if library.name is not None and evaluate_when(library.when, values):
            folders = [root / substitute(text, values) for text in library.search]
            yield from _find_library_search(substitute(library.name, values), folders)


def _find_matched(root: Path, pattern: str) -> Iterator[Path]:
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        if glob.has_magic(part):
            above = "/".join(parts[:number]) or ("/" if pattern.startswith("/") else ".")
            yield from _glob_directories(root, f"{above}/**/" if part == "**" else above)
    found = _glob_sorted(root, pattern)
    for path in found:
        yield from (Path(folder) for folder, _, _ in os.walk(path))
        if path.is_symlink():
            yield path
    if not found and not glob.has_magic(pattern):
        yield from _glob_directories(root, posixpath.dirname(pattern) or ".")


def _glob_directories(root: Path, pattern: str) -> Iterator[Path]:
    return (path for path in _glob_sorted(root, pattern) if path.is_dir())


def _glob_sorted(root: Path, pattern: str) -> list[Path]:
    found = sorted(glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207
    return [Path(os.path.normpath(root / name)) for name in found]


def _find_library_search(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Where a library was found under its name, and the folders before, where it may appear."""
    for folder in folders:
        if (folder / name).exists():
            yield Path(os.path.normpath(folder / name))
            return
        if folder.is_dir():
            yield folder


def _find_own_files() -> Iterator[Path]:
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.partition(".")[0] == "bundle_fix":
            yield Path(path)
