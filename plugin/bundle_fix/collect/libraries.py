"""Shared libraries: each lands as its real file with the links that its names call for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.collect.collection import Collection, Origin
from bundle_fix.collect.files import node_at
from bundle_fix.collect.patterns import matches, nothing_matches
from bundle_fix.elf.on_disk import image_at
from bundle_fix.errors import BundleFixError
from bundle_fix.spec.model import Libraries
from bundle_fix.spec.variables import Values, substitute
from bundle_fix.tree import Stamp, Symlink


def library_sources(
    collection: Collection, entry: Libraries, values: Values, where: str
) -> list[Path]:
    """The files that an entry of ``[[libraries]]``, which stands at ``where``, names.

    Raises:
        BundleFixError: there is none, and the entry is not optional.
    """
    if entry.source is not None:
        pattern = substitute(entry.source, values)
        found = matches(collection.root, pattern)
        if not found and not entry.optional:
            raise nothing_matches(pattern, collection.root, where)
        return found
    name = substitute(entry.name or "", values)
    folders = [collection.root / substitute(text, values) for text in entry.search]
    source = next((p for folder in folders for p in _with_soname(folder, name)), None)
    if source is None and not entry.optional:
        raise BundleFixError(
            f"no library with the soname {name} in {', '.join(map(str, folders)) or 'no folder'}",
            where=where,
            hint="build it, or add the folder that holds it to `search`",
        )
    return [] if source is None else [source]


def _with_soname(folder: Path, name: str) -> Iterator[Path]:
    """The file of that name, and those whose DT_SONAME is that name, whatever they are called."""
    if (folder / name).exists():
        yield folder / name
    for path in sorted(folder.glob("*.so*")) if folder.is_dir() else ():
        image = image_at(path)
        if image is not None and image.soname == name:
            yield path


def add_library(
    collection: Collection, source: Path, folder: str, where: str, needed_by: str = ""
) -> str:
    """Add the real file behind ``source`` with the links that its soname and source call for.

    Returns:
        Its soname, or its file name where it has none.
    """
    real = source.resolve()
    image = image_at(real)
    if image is None or not image.is_library:
        raise BundleFixError(f"{source} is not a shared library", where=where)
    soname = image.soname or source.name
    names = {soname, source.name, real.name}
    development = source.parent / f"{soname.partition('.so')[0]}.so"
    if not needed_by and development.is_symlink() and development.resolve() == real:
        names.add(development.name)
    origin = Origin(real, needed_by or where, from_closure=bool(needed_by))
    node = node_at(real, real, None, where)
    collection.add(posixpath.join(folder, real.name), node, origin)
    for name in sorted(names - {real.name}):
        link = Symlink(real.name, Stamp(0o777, mtime=node.stamp.mtime))
        collection.add(posixpath.join(folder, name), link, origin)
    return soname
