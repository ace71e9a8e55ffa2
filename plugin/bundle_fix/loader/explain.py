"""Why a name leads where it leads: every search for it in a pack, each with one sentence."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entries import map_plugin_in_programs, map_plugins, map_programs
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.model.errors import BundleFixError


class Explanation(Struct, frozen=True):
    """One search for a name, and what came of it.

    Attributes:
        name: what is needed.
        requester: the path of the object that needs it.
        entries: the programs and plugins in whose processes it went this way.
        needed: whether the requester needs it; else it is what dlopen() there would do.
        result: what is mapped.
        already_loaded: whether it was there before, for another's sake.
        trace: the steps, in order.
        conclusion: one sentence.
        good: whether it is as its maker would want it: the pack's own, or what only the host has.
    """

    name: str
    requester: str
    entries: tuple[str, ...]
    needed: bool
    result: LoadedObject
    already_loaded: bool
    trace: tuple[SearchStep, ...]
    conclusion: str
    good: bool


def explain_name(
    world: Deployment, name: str, requester: str | None = None, only: str | None = None
) -> list[Explanation]:
    """Every search for ``name``; where nothing needs it, what dlopen() would find.

    Args:
        world: the pack on its host.
        name: a needed name, or the path of a library in the pack.
        requester: the path of the one object whose search is wanted.
        only: the one entry whose process is wanted.

    Raises:
        BundleFixError: the pack has neither programs nor libraries.
    """
    started = map_programs(world, only)
    processes = [*started.values(), *_map_plugins(world, started, only)]
    if requester is not None and not any(_find_bundled_object(p, requester) for p in processes):
        processes.append(world.map_process(requester))
    if not processes:
        raise BundleFixError("it has no program and no library, so nothing is searched")
    names = _find_names_of(world.bundle, name)
    found: dict[tuple[object, ...], tuple[Resolution, list[str], bool]] = {}
    for process in processes:
        for need, is_needed in _find_resolutions(world, process, names, requester):
            key = (
                need.requester.label,
                need.name,
                need.result.label,
                need.already_loaded,
                need.trace,
            )
            found.setdefault(key, (need, [], is_needed))[1].append(process.entry)
    if any(is_needed for _, _, is_needed in found.values()):
        found = {key: value for key, value in found.items() if value[2]}
    return [
        _explain_resolution(world.bundle, need, tuple(entries), needed)
        for need, entries, needed in found.values()
    ]


def _map_plugins(
    world: Deployment, started: Mapping[str, Process], only: str | None
) -> Iterator[Process]:
    """What plugins map: where programs give them more of the pack, in these; else by themselves."""
    for plugin in map_plugins(world, started, only).values():
        better = map_plugin_in_programs(world, started, plugin)
        for program, opened in better:
            objects = (opened.objects[0], *program.objects, *opened.objects[1:])
            entry = f"{program.entry} that opens {plugin.entry}"
            yield replace(opened, entry=entry, objects=objects)
        if not better:
            yield plugin


def _find_names_of(bundle: Bundle, name: str) -> set[str]:
    """The names that a user may mean: one that stands in a file, or all that lead to a file."""
    if name.strip("/") in bundle.images and "/" in name:
        path = name.strip("/")
        return {n for n, paths in bundle.paths_by_name.items() if path in paths} or {name}
    return {name}


def _find_resolutions(
    world: Deployment, process: Process, names: set[str], requester: str | None
) -> Iterator[tuple[Resolution, bool]]:
    met = False
    for need in process.resolutions:
        meant = need.name in names or posixpath.basename(need.name) in names
        if meant and requester in (None, need.requester.path):
            met = True
            yield need, True
    opener = process.objects[0] if requester is None else _find_bundled_object(process, requester)
    if not met and opener is not None:
        for name in sorted(names):
            yield world.dlopen(process, name, opener), False


def _find_bundled_object(process: Process, path: str) -> LoadedObject | None:
    return next(
        (o for o in process.objects if o.path == path and o.origin is ObjectOrigin.BUNDLE), None
    )


def _explain_resolution(
    bundle: Bundle, need: Resolution, entries: tuple[str, ...], needed: bool
) -> Explanation:
    trace = need.trace or (() if need.already_loaded else need.result.trace)
    conclusion, good = _conclude(bundle, need)
    return Explanation(
        need.name, need.requester.label, entries, needed, need.result, need.already_loaded, trace,
        conclusion, good,
    )  # fmt: skip


def _conclude(bundle: Bundle, need: Resolution) -> tuple[str, bool]:
    name, result = posixpath.basename(need.name), need.result
    image = need.requester.image
    provided = bundle.find_providers(name, image) if image is not None else ()
    if result.origin is ObjectOrigin.BUNDLE:
        if need.already_loaded and not need.trace:
            return f"{result.path} is loaded already, so nothing is searched.", True
        if need.already_loaded:
            return f"The file found is {result.path}, which is loaded already.", True
        return f"The pack's {result.path} is loaded.", True
    where = f"{result.path} of the host" if result.path else "nothing"
    if result.origin is ObjectOrigin.HOST and (
        is_part_of_libc(name) or result.via is SearchRule.LOADED
    ):
        return f"It belongs to the C library, which every target has: {where} is used.", True
    if result.trace and result.trace[-1].outcome is Outcome.LOADER_FAILS:
        step = result.trace[-1]
        return f"Nothing is loaded: {step.place} comes first ({step.verdict}).", False
    if not provided:
        return _conclude_not_in_pack(bundle, need, where)
    first = provided[0]
    if result.via is SearchRule.LD_LIBRARY_PATH:
        return (
            f"The pack has it as {first}, but LD_LIBRARY_PATH is asked before RUNPATH; only a name"
            " that is needed by its path, or found by RPATH, is safe from it.",
            False,
        )
    if posixpath.basename(first) != name and not _has_file_named(bundle, name):
        has = f"The pack has the library under another file name, {first}, and nothing in it is"
        has += f" called {name}"
    elif bundle.images[first].soname == name and not _names_lead_to(bundle, name, first):
        has = f"The pack has the library as {first}, but under that name in no folder searched"
    else:
        has = f"The pack has it as {first}, but no folder that is searched in time leads there"
    if result.origin is ObjectOrigin.HOST:
        return f"{has}; so the host's copy would be used ({result.path}).", False
    return f"{has}; so it is not found at all.", False


def _has_file_named(bundle: Bundle, name: str) -> bool:
    return any(posixpath.basename(path) == name for path in bundle.tree.nodes)


def _names_lead_to(bundle: Bundle, name: str, target: str) -> bool:
    return target in bundle.paths_by_name.get(name, ())


def _conclude_not_in_pack(bundle: Bundle, need: Resolution, where: str) -> tuple[str, bool]:
    name = posixpath.basename(need.name)
    others = _find_similar_libraries(bundle, name)
    also = f" (it has {', '.join(others)})" if others else ""
    if need.result.origin is ObjectOrigin.HOST:
        return f"The pack does not have it{also}; {where} is used.", not others
    return f"It is not found: the pack does not have it{also}, and neither has the host.", False


def _find_similar_libraries(bundle: Bundle, name: str) -> list[str]:
    """What the pack has that is nearly it: for another machine, or another version."""
    stem = name.partition(".so")[0] + ".so"
    named: Mapping[str, tuple[str, ...]] = bundle.paths_by_name
    found = [path for n, paths in sorted(named.items()) if n.startswith(stem) for path in paths]
    shown = []
    for path in dict.fromkeys(found):
        image = bundle.images[path]
        exact = path in named.get(name, ())
        shown.append(f"{path}, {image.format.bits}-bit {image.machine}" if exact else path)
    return shown[:5]
