"""The RUNPATH that each object's own needed names call for, relative to its own folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.openers import find_dlopened_names
from bundle_fix.loader.runpath import (
    find_entries_to_keep,
    find_reachable_entries,
    is_valid_entry,
    list_entries,
)
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import get_relative_path, resolve_path
from bundle_fix.plan.provider import (
    ProviderChoice,
    choose_provider,
    find_current_providers,
    map_provider_directories,
)
from bundle_fix.plan.verify import drop_harmful_edits


def plan_runpaths(
    bundle: Bundle, pinned: Sequence[str], dlopened: Sequence[str] = ()
) -> tuple[dict[str, Changes], dict[str, tuple[str, ...]]]:
    """The changes to every object that has to change, and what the user should know of objects.

    Args:
        bundle: the pack with all links in place; images as they were read.
        pinned: patterns of sonames that are to be needed by path.
        opened: names that objects of the pack open at run time, found as needed names are.

    Returns:
        Path to changes, and path to remarks: which of several files was chosen, or what could not
        be planned.
    """
    original = find_current_providers(bundle)
    origins = _list_origins(bundle)
    provider_directories = map_provider_directories(bundle)
    dlopened_names = find_dlopened_names(bundle, dlopened)
    edits = {}
    remarks = {}
    for path, image in bundle.images.items():
        if not image.is_dynamic:
            continue
        unresolved = _find_unresolved_paths(bundle, path, image)
        names = [*(name for name in image.needed if "/" not in name), *unresolved.values()]
        choices = {
            name: choose_provider(bundle, provider_directories, path, name, original.get((path, name)))
            for name in (*names, *dlopened_names.get(path, ()))
            if not is_part_of_libc(name)
        }
        directories, choice_remarks = _select_directories(choices, origins[path])
        if choice_remarks:
            remarks[path] = choice_remarks
        runpath = _compute_runpath(bundle, image, origins[path], directories)
        pins = {
            name: directory
            for name, directory in directories.items()
            if name in names and any(fnmatchcase(name, pattern) for pattern in pinned)
        }
        replacements = tuple((old, new) for old, new in unresolved.items() if new in directories)
        changes = replace(_make_path_changes(image, runpath), replace_needed=replacements)
        if pins:
            changes = _pin_needed_names(bundle, path, pins, changes)
        if changes != Changes():
            edits[path] = changes
    return drop_harmful_edits(bundle, edits), remarks


def _select_directories(
    choices: Mapping[str, ProviderChoice], origins: Iterable[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The folders that a RUNPATH can name, by needed name; remarks on the choice, and on others."""
    directories, remarks = {}, []
    for name, choice in choices.items():
        remarks += [choice.remark] if choice.remark else []
        if choice.directory is None:
            continue
        entries = [format_runpath_entry(choice.directory, origin) for origin in origins]
        if all(is_valid_entry(entry) for entry in entries):
            directories[name] = choice.directory
        else:
            remarks.append(
                f"{name} is in {choice.directory}, a name that cannot be written in a RUNPATH"
                " (':' separates entries, '$' begins a token): rename the folder"
            )
    return directories, tuple(remarks)


def _find_unresolved_paths(bundle: Bundle, path: str, image: Image) -> dict[str, str]:
    """Needed paths that name no file of the pack, each with the name at its end.

    A library without a soname is needed as it was named to the linker: by the path of the build.
    """
    origin = posixpath.dirname(path)
    replacements = {}
    for name in image.needed:
        base, place = expand_entry(name, origin)
        if "/" in name and (
            base is not PathBase.ORIGIN or resolve_path(bundle.tree, place) not in bundle.images
        ):
            replacements[name] = posixpath.basename(name)
    return replacements


def _make_path_changes(image: Image, path: str | None) -> Changes:
    """The change of the search path; an RPATH stays one.

    What an object loads and opens inherits its RPATH, but not its RUNPATH (ld.so(8)).
    """
    if path and image.rpath is not None and image.runpath is None:
        return Changes(rpath=path)
    return Changes(runpath=path)


def _list_origins(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The folders that ``$ORIGIN`` may mean in each object: its own, and those of its links.

    glibc takes the folder in which a library was found, without following a link (dl-object.c); of
    a program the kernel names the real file.
    """
    origins = {path: {posixpath.dirname(path): None} for path in bundle.images}
    for path, _ in bundle.tree.links():
        end = resolve_path(bundle.tree, path)
        directory = resolve_path(bundle.tree, posixpath.dirname(path))
        library = isinstance(end, str) and end in origins and bundle.images[end].is_library
        if library and isinstance(directory, str):
            origins[str(end)][directory] = None
    for path, file in bundle.tree.files():
        if file.twin in origins:
            # Hard links are one file, and any of them may be the one that is loaded.
            origins[file.twin] |= origins[path]
            origins[path] = origins[file.twin]
    return {path: tuple(replacements) for path, replacements in origins.items()}


def _compute_runpath(
    bundle: Bundle, image: Image, origins: Sequence[str], directories: Mapping[str, str]
) -> str | None:
    """The new RUNPATH: empty where none is needed any more, None where nothing has to change."""
    remaining = find_entries_to_keep(bundle.tree, image, origins)
    new: list[str] = []
    for origin in origins:
        for name, directory in directories.items():
            target = resolve_path(bundle.tree, posixpath.join(directory, name))
            if _find_first_match(bundle, remaining, origin, image, name) or target == _find_first_match(
                bundle, new, origin, image, name
            ):
                continue
            new.append(format_runpath_entry(directory, origin))
    if not new and remaining == list_entries(image) and None in (image.rpath, image.runpath):
        return None
    return ":".join(dict.fromkeys([*find_reachable_entries(bundle.tree, remaining, origins), *new]))


def _pin_needed_names(bundle: Bundle, path: str, pins: Mapping[str, str], changes: Changes) -> Changes:
    """``changes``, and ``path`` needs each of ``pins`` (name to folder) by its place.

    Where the file wants versions of the library, its plain name stays behind the path: the loader
    checks versions by the name in DT_VERNEED, and only a request by soname teaches it that name
    (glibc's dl-version.c, find_needed; dl-load.c, l_soname_added).
    """
    origin = posixpath.dirname(path)
    places = {
        name: posixpath.join(format_runpath_entry(directory, origin), name)
        for name, directory in pins.items()
    }
    with bundle.content(path).open() as reader:
        versioned = read_needed_versions(reader, bundle.images[path])
    return replace(
        changes,
        replace_needed=changes.replace_needed
        + tuple((n, p) for n, p in places.items() if n not in versioned),
        insert_needed=tuple((n, p) for n, p in places.items() if n in versioned),
    )


def _find_first_match(
    bundle: Bundle, search: Sequence[str], origin: str, image: Image, name: str
) -> str | None:
    """The file of the pack that the first of the entries ``search`` that leads to one leads to."""
    for entry in search:
        end = resolve_path(bundle.tree, posixpath.join(expand_entry(entry, origin).path, name))
        replacements = bundle.images.get(end) if isinstance(end, str) else None
        if replacements is not None and replacements.architecture == image.architecture:
            return str(end)
    return None


def format_runpath_entry(directory: str, origin: str) -> str:
    """The RUNPATH entry that leads an object in ``home`` to ``folder``."""
    return "$ORIGIN" if directory == origin else f"$ORIGIN/{get_relative_path(directory, origin)}"
