"""Explanations: every search for a name in a pack, with a conclusion in one sentence."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import map_plugin_in_programs, map_plugins, map_programs
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import get_library_stem


class Explanation(Struct, frozen=True):
    """One search for a name, and its result.

    Attributes:
        name: the needed name.
        requester: the path of the object that needs it.
        entries: the programs and plugins whose processes have this search.
        needed: whether the requester needs the name; otherwise the search is that of a dlopen()
            in the requester.
        result: the object that the name resolves to.
        already_loaded: whether another object had it loaded before.
        trace: the steps, in order.
        conclusion: the result in one sentence.
        is_intended: whether the result is the pack's own library, or one that a pack leaves to
            the host.
    """

    name: str
    requester: str
    entries: tuple[str, ...]
    needed: bool
    result: LoadedObject
    already_loaded: bool
    trace: tuple[SearchStep, ...]
    conclusion: str
    is_intended: bool


def explain_name(
    deployment: Deployment, name: str, requester: str | None = None, only: str | None = None
) -> list[Explanation]:
    """Return every search for ``name``; if no object needs it, the searches of dlopen(name).

    Args:
        deployment: the pack on its host.
        name: a needed name, or the path of a library in the pack.
        requester: the path of the object that searches; None for all objects.
        only: the path of the entry point to look at; None for all.

    Raises:
        BundleFixError: the pack has neither programs nor libraries.
    """
    programs = map_programs(deployment, only)
    processes = [*programs.values(), *_map_plugins(deployment, programs, only)]
    if requester is not None and not any(_find_bundled_object(p, requester) for p in processes):
        processes.append(deployment.map_process(requester))
    if not processes:
        raise BundleFixError("it has no program and no library, so nothing is searched")
    names = _find_names_of(deployment.bundle, name)
    # Searches with the same steps and result are shown once, with all their entry points.
    found: dict[tuple[object, ...], tuple[Resolution, list[str], bool]] = {}
    for process in processes:
        for resolution, is_needed in _find_resolutions(deployment, process, names, requester):
            key = (
                resolution.requester.label,
                resolution.name,
                resolution.result.label,
                resolution.already_loaded,
                resolution.trace,
            )
            found.setdefault(key, (resolution, [], is_needed))[1].append(process.entry)
    if any(is_needed for _, _, is_needed in found.values()):
        found = {key: value for key, value in found.items() if value[2]}
    return [
        _explain_resolution(deployment.bundle, resolution, tuple(entries), is_needed)
        for resolution, entries, is_needed in found.values()
    ]


def _map_plugins(
    deployment: Deployment, programs: Mapping[str, Process], only: str | None
) -> Iterator[Process]:
    """Yield the processes of plugins.

    A plugin that finds more of the pack in some programs is shown in these, others on their own.
    """
    for plugin in map_plugins(deployment, programs, only).values():
        with_programs = map_plugin_in_programs(deployment, programs, plugin)
        for program, added in with_programs:
            objects = (*program.objects, *added.objects)
            entry = f"{program.entry} that opens {plugin.entry}"
            yield replace(added, entry=entry, objects=objects)
        if not with_programs:
            yield plugin


def _find_names_of(bundle: Bundle, name: str) -> set[str]:
    """Return the names to search for: ``name``, or all that lead to the file at that path."""
    if name.strip("/") in bundle.images and "/" in name:
        path = name.strip("/")
        return {n for n, paths in bundle.paths_by_name.items() if path in paths} or {name}
    return {name}


def _find_resolutions(
    deployment: Deployment, process: Process, names: set[str], requester: str | None
) -> Iterator[tuple[Resolution, bool]]:
    """Yield the resolutions of ``names``, each with whether an object needs the name.

    If no object of the process does, they are those of dlopen() in the requester or the program.
    """
    is_needed = False
    for resolution in process.resolutions:
        matches = resolution.name in names or posixpath.basename(resolution.name) in names
        if matches and requester in (None, resolution.requester.path):
            is_needed = True
            yield resolution, True
    opener = process.main if requester is None else _find_bundled_object(process, requester)
    if not is_needed and opener is not None:
        for name in sorted(names):
            yield deployment.dlopen(process, name, opener), False


def _find_bundled_object(process: Process, path: str) -> LoadedObject | None:
    return next(
        (o for o in process.objects if o.path == path and o.origin is ObjectOrigin.BUNDLE), None
    )


def _explain_resolution(
    bundle: Bundle, resolution: Resolution, entries: tuple[str, ...], is_needed: bool
) -> Explanation:
    known, result = resolution.already_loaded, resolution.result
    trace = resolution.trace or (() if known else result.trace)
    conclusion, is_intended = _build_conclusion(bundle, resolution)
    return Explanation(
        resolution.name, resolution.requester.label, entries, is_needed, result, known, trace,
        conclusion, is_intended,
    )  # fmt: skip


def _build_conclusion(bundle: Bundle, resolution: Resolution) -> tuple[str, bool]:
    """Return the conclusion as a sentence, and whether the result is the intended one."""
    name, result = posixpath.basename(resolution.name), resolution.result
    if result.origin is ObjectOrigin.BUNDLE:
        return _describe_bundled_library(resolution), True
    copy = f"{result.path} of the host" if result.path else "nothing"
    if result.origin is ObjectOrigin.HOST and (
        is_part_of_libc(name) or result.via is SearchRule.LOADED
    ):
        return f"It belongs to the C library, which every target has: {copy} is used.", True
    if result.trace and result.trace[-1].outcome is Outcome.LOADER_FAILS:
        step = result.trace[-1]
        return f"Nothing is loaded: {step.place} comes first ({step.verdict}).", False
    image = resolution.requester.image
    providers = bundle.find_providers(name, image) if image is not None else ()
    if not providers:
        return _describe_missing_library(bundle, resolution, copy)
    return _describe_unused_provider(bundle, resolution, providers[0]), False


def _describe_bundled_library(resolution: Resolution) -> str:
    path = resolution.result.path
    if not resolution.already_loaded:
        return f"The pack's {path} is loaded."
    if not resolution.trace:
        return f"{path} is loaded already, so nothing is searched."
    return f"The file found is {path}, which is loaded already."


def _describe_unused_provider(bundle: Bundle, resolution: Resolution, provider: str) -> str:
    """Return why ``provider``, a library of the pack, is not loaded."""
    name, result = posixpath.basename(resolution.name), resolution.result
    if result.via is SearchRule.LD_LIBRARY_PATH:
        return (
            f"The pack has it as {provider}, but LD_LIBRARY_PATH is searched before RUNPATH; only"
            " a library that is needed by its path, or found by RPATH, is safe from it."
        )
    if posixpath.basename(provider) != name and not _has_file_named(bundle, name):
        reason = f"The pack has the library under another file name, {provider}, and has no file"
        reason += f" named {name}"
    elif bundle.images[provider].soname == name and not _is_known_as(bundle, name, provider):
        reason = f"The pack has the library as {provider}, but no searched directory has that name"
    else:
        reason = f"The pack has it as {provider}, but the search does not reach its directory"
    if result.origin is ObjectOrigin.HOST:
        return f"{reason}; so the host's copy would be used ({result.path})."
    return f"{reason}; so it is not found."


def _has_file_named(bundle: Bundle, name: str) -> bool:
    return any(posixpath.basename(path) == name for path in bundle.tree.nodes)


def _is_known_as(bundle: Bundle, name: str, path: str) -> bool:
    return path in bundle.paths_by_name.get(name, ())


def _describe_missing_library(
    bundle: Bundle, resolution: Resolution, copy: str
) -> tuple[str, bool]:
    similar = _find_similar_libraries(bundle, posixpath.basename(resolution.name))
    also = f" (it has {', '.join(similar)})" if similar else ""
    if resolution.result.origin is ObjectOrigin.HOST:
        return f"The pack does not have it{also}; {copy} is used.", not similar
    return f"It is not found: the pack does not have it{also}, and neither has the host.", False


def _find_similar_libraries(bundle: Bundle, name: str) -> list[str]:
    """Return the pack's libraries of the same name for other machines, or of other versions."""
    stem = get_library_stem(name) + ".so"
    named: Mapping[str, tuple[str, ...]] = bundle.paths_by_name
    found = [path for n, paths in sorted(named.items()) if n.startswith(stem) for path in paths]
    shown = []
    for path in dict.fromkeys(found):
        image = bundle.images[path]
        exact = path in named.get(name, ())
        shown.append(f"{path}, {image.format.bits}-bit {image.machine}" if exact else path)
    return shown[:5]
