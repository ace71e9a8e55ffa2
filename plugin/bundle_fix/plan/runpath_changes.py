"""The changes by which one object finds its names: RUNPATH or RPATH, and names needed by path."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.runpath import list_runpath_entries
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import get_relative_path, resolve_path


class ObjectSearch(Struct, frozen=True):
    """What one object has to find, and the search path that it keeps.

    Attributes:
        names: the names to find by RUNPATH.
        pinned: the needed names to find by path.
        unresolved: needed paths of the build machine to replace, with their base names.
        kept: the entries of RUNPATH or RPATH that stay, and are searched before new ones.
        lasting: those of them that are written, if anything changes.
    """

    names: tuple[str, ...]
    pinned: tuple[str, ...]
    unresolved: Mapping[str, str]
    kept: list[str]
    lasting: list[str]


def plan_object_changes(
    bundle: Bundle,
    path: str,
    origins: Sequence[str],
    search: ObjectSearch,
    directories: Mapping[str, str],
) -> Changes:
    """Return the changes of one object.

    Args:
        bundle: the pack.
        path: the path of the object.
        origins: the possible values of its ``$ORIGIN``.
        search: what it has to find.
        directories: the directories to find its names in, by name.
    """
    image = bundle.images[path]
    searched = {name: directories[name] for name in search.names if name in directories}
    runpath = _compute_runpath(bundle, image, origins, search, searched)
    replacements = tuple((o, n) for o, n in search.unresolved.items() if n in directories)
    changes = replace(_make_path_changes(image, runpath), replace_needed=replacements)
    pins = {name: directories[name] for name in search.pinned if name in directories}
    return _pin_needed_names(bundle, path, pins, changes) if pins else changes


def _compute_runpath(
    bundle: Bundle,
    image: Image,
    origins: Sequence[str],
    search: ObjectSearch,
    directories: Mapping[str, str],
) -> str | None:
    """Return the new RUNPATH: empty if none is needed, None if nothing has to change."""
    new: list[str] = []
    for origin in origins:
        for name, directory in directories.items():
            target = resolve_path(bundle.tree, posixpath.join(directory, name))
            is_found = _find_first_match(bundle, search.kept, origin, image, name) is not None
            if is_found or target == _find_first_match(bundle, new, origin, image, name):
                continue
            new.append(format_runpath_entry(directory, origin))
    is_same = search.kept == list_runpath_entries(image) and None in (image.rpath, image.runpath)
    if not new and is_same:
        return None
    return ":".join(dict.fromkeys([*search.lasting, *new]))


def _find_first_match(
    bundle: Bundle, entries: Sequence[str], origin: str, image: Image, name: str
) -> str | None:
    """Return the file of the pack with this name that a search through ``entries`` finds first."""
    for entry in entries:
        path = resolve_path(bundle.tree, posixpath.join(expand_entry(entry, origin).path, name))
        candidate = bundle.images.get(path) if isinstance(path, str) else None
        if candidate is not None and candidate.architecture == image.architecture:
            return str(path)
    return None


def _make_path_changes(image: Image, path: str | None) -> Changes:
    """Return the change of the search path; an RPATH remains an RPATH.

    Libraries loaded by an object inherit its RPATH, but not its RUNPATH (ld.so(8)).
    """
    if path and image.rpath is not None and image.runpath is None:
        return Changes(rpath=path)
    return Changes(runpath=path)


def _pin_needed_names(
    bundle: Bundle, path: str, pins: Mapping[str, str], changes: Changes
) -> Changes:
    """Return ``changes`` with each of ``pins`` (name to directory) needed by its path.

    If the file requires symbol versions of the library, the soname is still needed after the path:
    the loader checks versions by the name in DT_VERNEED, and it only associates that name with the
    library when it is requested by soname (glibc's dl-version.c, find_needed; dl-load.c,
    l_soname_added).
    """
    origin = posixpath.dirname(path)
    paths = {
        name: posixpath.join(format_runpath_entry(directory, origin), name)
        for name, directory in pins.items()
    }
    with bundle.get_content(path).open() as reader:
        versioned = read_needed_versions(reader, bundle.images[path])
    return replace(
        changes,
        replace_needed=changes.replace_needed
        + tuple((n, p) for n, p in paths.items() if n not in versioned),
        insert_needed=tuple((n, p) for n, p in paths.items() if n in versioned),
    )


def format_runpath_entry(directory: str, origin: str) -> str:
    """Return the RUNPATH entry for ``directory`` in an object whose directory is ``origin``."""
    return "$ORIGIN" if directory == origin else f"$ORIGIN/{get_relative_path(directory, origin)}"


def find_unresolved_paths(bundle: Bundle, path: str, image: Image) -> dict[str, str]:
    """Return the needed paths that are not files of the pack, with their base names.

    The linker records the path given to it if a library has no soname, so an object can need a
    library by its path on the build machine.
    """
    origin = posixpath.dirname(path)
    names = {}
    for name in image.needed:
        base, place = expand_entry(name, origin)
        if "/" in name and (
            base is not PathBase.ORIGIN or resolve_path(bundle.tree, place) not in bundle.images
        ):
            names[name] = posixpath.basename(name)
    return names
