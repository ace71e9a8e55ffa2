"""Explanations: every search for a name in a pack, with a conclusion."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import map_plugin_in_programs, map_plugins, map_programs
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.model.library_names import get_library_stem

MAX_SIMILAR = 5
"""Limit on the similar libraries in a conclusion."""


class ConclusionKind(Enum):
    """The reason why a search has its result; the values are codes."""

    BUNDLED = "bundled"
    LOADED_BEFORE = "loaded_before"
    FOUND_LOADED = "found_loaded"
    PART_OF_LIBC = "part_of_libc"
    LOADER_FAILS = "loader_fails"
    LIBRARY_PATH_FIRST = "library_path_first"
    OTHER_FILE_NAME = "other_file_name"
    NAME_NOT_SEARCHED = "name_not_searched"
    DIRECTORY_NOT_SEARCHED = "directory_not_searched"
    ON_HOST = "on_host"
    NOT_FOUND = "not_found"


INTENDED_KINDS = frozenset({
    ConclusionKind.BUNDLED,
    ConclusionKind.LOADED_BEFORE,
    ConclusionKind.FOUND_LOADED,
    ConclusionKind.PART_OF_LIBC,
    ConclusionKind.ON_HOST,
})  # fmt: skip


class SimilarLibrary(Struct, frozen=True):
    """A library of the pack for another machine, or another version if the name differs."""

    path: str
    bits: int
    machine: str
    has_same_name: bool


class Conclusion(Struct, frozen=True):
    """The conclusion of a search.

    Attributes:
        kind: the reason of the result.
        path: the file that is used; None if there is none, or if it does not matter.
        provider: the library of the pack that is not used.
        step: the step at which the search fails.
        similar: libraries of the pack that the search does not accept.
    """

    kind: ConclusionKind
    path: str | None = None
    provider: str = ""
    step: SearchStep | None = None
    similar: tuple[SimilarLibrary, ...] = ()

    @property
    def is_intended(self) -> bool:
        """Whether the pack's own library is used, or one that a pack leaves to the host."""
        return self.kind in INTENDED_KINDS and not self.similar


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
        conclusion: the reason of the result.
    """

    name: str
    requester: str
    entries: tuple[str, ...]
    needed: bool
    result: LoadedObject
    already_loaded: bool
    trace: tuple[SearchStep, ...]
    conclusion: Conclusion


def explain_name(
    deployment: Deployment, name: str, requester: str | None = None, only: str | None = None
) -> list[Explanation]:
    """Return every search for ``name``; if no object needs it, the searches of dlopen(name).

    A pack of static programs, or without programs and libraries, has none.

    Args:
        deployment: the pack on its host.
        name: a needed name, or the path of a library in the pack.
        requester: the path of the object that searches; None for all objects.
        only: the path of the entry point to look at; None for all.
    """
    programs = map_programs(deployment, only)
    processes = [*programs.values(), *_map_plugins(deployment, programs, only)]
    if requester is not None and not any(_find_bundled_object(p, requester) for p in processes):
        processes.append(deployment.map_process(requester))
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
    return Explanation(
        resolution.name, resolution.requester.label, entries, is_needed, result, known, trace,
        _draw_conclusion(bundle, resolution),
    )  # fmt: skip


def _draw_conclusion(bundle: Bundle, resolution: Resolution) -> Conclusion:
    name, result = posixpath.basename(resolution.name), resolution.result
    is_on_host = result.origin is ObjectOrigin.HOST
    if result.origin is ObjectOrigin.BUNDLE:
        return Conclusion(_classify_bundled_library(resolution), result.path)
    if is_on_host and (is_part_of_libc(name) or result.via is SearchRule.LOADED):
        return Conclusion(ConclusionKind.PART_OF_LIBC, result.path)
    if result.trace and result.trace[-1].outcome is Outcome.LOADER_FAILS:
        return Conclusion(ConclusionKind.LOADER_FAILS, step=result.trace[-1])
    image = resolution.requester.image
    providers = bundle.find_providers(name, image) if image is not None else ()
    if not providers:
        kind = ConclusionKind.ON_HOST if is_on_host else ConclusionKind.NOT_FOUND
        return Conclusion(kind, result.path, similar=_find_similar_libraries(bundle, name))
    if result.via is SearchRule.LD_LIBRARY_PATH:
        return Conclusion(ConclusionKind.LIBRARY_PATH_FIRST, provider=providers[0])
    kind = _classify_unused_provider(bundle, name, providers[0])
    return Conclusion(kind, result.path, providers[0])


def _classify_bundled_library(resolution: Resolution) -> ConclusionKind:
    if not resolution.already_loaded:
        return ConclusionKind.BUNDLED
    return ConclusionKind.FOUND_LOADED if resolution.trace else ConclusionKind.LOADED_BEFORE


def _classify_unused_provider(bundle: Bundle, name: str, provider: str) -> ConclusionKind:
    """Return why ``provider``, a library of the pack, is not found."""
    if posixpath.basename(provider) != name and not _has_file_named(bundle, name):
        return ConclusionKind.OTHER_FILE_NAME
    if bundle.images[provider].soname == name and not _is_known_as(bundle, name, provider):
        return ConclusionKind.NAME_NOT_SEARCHED
    return ConclusionKind.DIRECTORY_NOT_SEARCHED


def _has_file_named(bundle: Bundle, name: str) -> bool:
    return any(posixpath.basename(path) == name for path in bundle.tree.nodes)


def _is_known_as(bundle: Bundle, name: str, path: str) -> bool:
    return path in bundle.paths_by_name.get(name, ())


def _find_similar_libraries(bundle: Bundle, name: str) -> tuple[SimilarLibrary, ...]:
    """Return the pack's libraries of the same name for other machines, or of other versions."""
    stem = get_library_stem(name) + ".so"
    named: Mapping[str, tuple[str, ...]] = bundle.paths_by_name
    found = [path for n, paths in sorted(named.items()) if n.startswith(stem) for path in paths]
    similar = []
    for path in list(dict.fromkeys(found))[:MAX_SIMILAR]:
        image, has_same_name = bundle.images[path], path in named.get(name, ())
        similar.append(SimilarLibrary(path, image.format.bits, image.machine, has_same_name))
    return tuple(similar)
