"""The RUNPATH that each object's own needed names call for, relative to its own folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from bundle_fix.bundle import Bundle
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.image import Image
from bundle_fix.elf.versions import needed_versions
from bundle_fix.loader.host import adversarial_host
from bundle_fix.loader.libc import belongs_to_libc
from bundle_fix.loader.process import map_process
from bundle_fix.loader.search import BUNDLE, Base, expand
from bundle_fix.plan_effect import harmless
from bundle_fix.runpath import entries, kept
from bundle_fix.tree import relative, walk


def plan_runpaths(bundle: Bundle, pinned: Sequence[str]) -> dict[str, Changes]:
    """The changes to every object that has to change: path to changes.

    Args:
        bundle: the pack with all links in place; images as they were read.
        pinned: patterns of sonames that are to be needed by path.
    """
    original = _original_choices(bundle)
    homes = _homes(bundle)
    places = _places(bundle)
    edits = {}
    for path, image in bundle.images.items():
        if not image.is_dynamic:
            continue
        paths = _paths_that_lead_nowhere(bundle, path, image)
        names = [name for name in image.needed if "/" not in name]
        chosen = {
            name: _choose(bundle, places, path, name, original.get((path, name)))
            for name in (*names, *paths.values())
            if not belongs_to_libc(name)
        }
        folders = {name: folder for name, folder in chosen.items() if folder is not None}
        runpath = _runpath(bundle, image, homes[path], folders)
        pins = {
            name: folder
            for name, folder in folders.items()
            if any(fnmatchcase(name, pattern) for pattern in pinned)
        }
        found = tuple((old, new) for old, new in paths.items() if new in folders)
        changes = replace(_path_changes(image, runpath), replace_needed=found)
        if pins:
            changes = _pinned(bundle, path, pins, changes)
        if changes != Changes():
            edits[path] = changes
    return harmless(bundle, edits)


def _paths_that_lead_nowhere(bundle: Bundle, path: str, image: Image) -> dict[str, str]:
    """Needed paths that name no file of the pack, each with the name at its end.

    A library without a soname is needed as it was named to the linker: by the path of the build.
    """
    home = posixpath.dirname(path)
    found = {}
    for name in image.needed:
        base, place = expand(name, home)
        if "/" in name and (
            base is not Base.ORIGIN or walk(bundle.tree, place) not in bundle.images
        ):
            found[name] = posixpath.basename(name)
    return found


def _path_changes(image: Image, path: str | None) -> Changes:
    """The change of the search path; an RPATH stays one.

    What an object loads and opens inherits its RPATH, but not its RUNPATH (ld.so(8)).
    """
    if path and image.rpath is not None and image.runpath is None:
        return Changes(rpath=path)
    return Changes(runpath=path)


def _original_choices(bundle: Bundle) -> dict[tuple[str, str], str]:
    """The file that each need leads to today, by requester and name, where it is in the pack."""
    host = adversarial_host()
    mapped: set[str] = set()
    chosen: dict[tuple[str, str], str] = {}
    # Programs come first: their RPATHs reach into what they load.
    for path in (*bundle.programs(), *bundle.libraries()):
        if path in mapped:
            continue
        for need in map_process(bundle, host, path).needs:
            mapped.add(need.requester.path or "")
            if need.result.origin == BUNDLE and need.requester.path and need.result.path:
                chosen.setdefault((need.requester.path, need.name), need.result.path)
    return chosen


def _homes(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The folders that ``$ORIGIN`` may mean in each object: its own, and those of its links.

    glibc takes the folder in which a library was found, without following a link (dl-object.c); of
    a program the kernel names the real file.
    """
    homes = {path: {posixpath.dirname(path): None} for path in bundle.images}
    for path, _ in bundle.tree.links():
        end = walk(bundle.tree, path)
        folder = walk(bundle.tree, posixpath.dirname(path))
        library = isinstance(end, str) and end in homes and bundle.images[end].is_library
        if library and isinstance(folder, str):
            homes[str(end)][folder] = None
    for path, file in bundle.tree.files():
        if file.twin in homes:
            # Hard links are one file, and any of them may be the one that is loaded.
            homes[file.twin] |= homes[path]
            homes[path] = homes[file.twin]
    return {path: tuple(found) for path, found in homes.items()}


def _places(bundle: Bundle) -> dict[tuple[str, str], list[str]]:
    """For every file and name, the folders in which that name leads to that file."""
    places: dict[tuple[str, str], list[str]] = {}
    for path in bundle.tree.nodes:
        end = walk(bundle.tree, path)
        folder = walk(bundle.tree, posixpath.dirname(path))
        if isinstance(end, str) and isinstance(folder, str) and end in bundle.images:
            places.setdefault((end, posixpath.basename(path)), []).append(folder)
    return places


def _choose(
    bundle: Bundle,
    places: Mapping[tuple[str, str], list[str]],
    path: str,
    name: str,
    original: str | None,
) -> str | None:
    """The folder in which ``path`` should find ``name``; None where the pack does not have it."""
    providers = bundle.providers(name, bundle.images[path])
    if original in providers:
        providers = (str(original),)
    home = posixpath.dirname(path)
    folders = [folder for p in providers for folder in places.get((p, name), ())]
    return min(folders, key=lambda f: (_distance(f, home), f), default=None)


def _distance(folder: str, home: str) -> int:
    return 0 if folder == home else len(relative(folder, home).split("/"))


def _runpath(
    bundle: Bundle, image: Image, homes: Iterable[str], folders: Mapping[str, str]
) -> str | None:
    """The new RUNPATH: empty where none is needed any more, None where nothing has to change."""
    stay = kept(bundle.tree, image, homes)
    wanted = list(stay)
    for home in homes:
        for name, folder in folders.items():
            if not _reached(bundle, stay, home, image, name):
                wanted.append(entry_for(folder, home))
    new = ":".join(dict.fromkeys(wanted))
    single = image.rpath is None or image.runpath is None
    return None if single and ":".join(entries(image)) == new else new


def _pinned(bundle: Bundle, path: str, pins: Mapping[str, str], changes: Changes) -> Changes:
    """``changes``, and ``path`` needs each of ``pins`` (name to folder) by its place.

    Where the file wants versions of the library, its plain name stays behind the path: the loader
    checks versions by the name in DT_VERNEED, and only a request by soname teaches it that name
    (glibc's dl-version.c, find_needed; dl-load.c, l_soname_added).
    """
    home = posixpath.dirname(path)
    places = {name: posixpath.join(entry_for(folder, home), name) for name, folder in pins.items()}
    with bundle.content(path).open() as reader:
        versioned = needed_versions(reader, bundle.images[path])
    return replace(
        changes,
        replace_needed=changes.replace_needed
        + tuple((n, p) for n, p in places.items() if n not in versioned),
        insert_needed=tuple((n, p) for n, p in places.items() if n in versioned),
    )


def _reached(bundle: Bundle, stay: list[str], home: str, image: Image, name: str) -> bool:
    """Whether one of the entries that stay leads to ``name`` in the pack."""
    for entry in stay:
        end = walk(bundle.tree, posixpath.join(expand(entry, home).path, name))
        found = bundle.images.get(end) if isinstance(end, str) else None
        if found is not None and found.architecture == image.architecture:
            return True
    return False


def entry_for(folder: str, home: str) -> str:
    """The RUNPATH entry that leads an object in ``home`` to ``folder``."""
    return "$ORIGIN" if folder == home else f"$ORIGIN/{relative(folder, home)}"
