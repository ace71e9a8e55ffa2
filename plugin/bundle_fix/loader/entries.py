"""Where processes begin: programs, and libraries that are mapped only when they are opened."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import resolve_path


def map_programs(world: Deployment, only: str | None = None) -> dict[str, Process]:
    """The process of every program, or of the one at the path ``only``."""
    paths = world.bundle.list_programs()
    return {path: world.map_process(path) for path in paths if only in (None, path)}


def map_plugins(
    world: Deployment, started: Mapping[str, Process], only: str | None = None
) -> dict[str, Process]:
    """What every library maps, by itself, that has to be opened at run time to be mapped.

    First come those that no other library needs, then those that not even these lead to. A library
    that is needed and not found is left out: its requester's trouble tells of it.

    Args:
        world: the pack on its host.
        started: the processes of its programs.
        only: the one library that is asked about; all where none is given.
    """
    bundle = world.bundle
    needed = {name for image in bundle.images.values() for name in image.needed}
    names = group_names_by_path(bundle)
    found: dict[str, Process] = {}
    reached = {o.path for p in started.values() for o in p.list_bundled_objects()}
    lost = _list_unbundled_names(started.values())
    libraries = [path for path in bundle.list_libraries() if only in (None, path)]
    for path in sorted(libraries, key=lambda p: bool(names.get(p, set()) & needed)):
        if path not in reached and not names.get(path, set()) & lost:
            found[path] = world.map_process(path)
            reached |= {o.path for o in found[path].list_bundled_objects()}
            lost |= _list_unbundled_names([found[path]])
    return found


MAX_PROGRAMS = 50
"""Programs in which a plugin is opened to see what it finds there."""


def map_plugin_in_programs(
    world: Deployment, started: Mapping[str, Process], plugin: Process
) -> list[tuple[Process, Process]]:
    """What opening ``plugin`` maps, in each program that finds it more of the pack than it alone.

    Args:
        world: the pack on its host.
        started: the processes of its programs.
        plugin: what the library maps by itself.

    Returns:
        Programs, each with what the library adds to it.
    """
    image = world.bundle.images[plugin.entry]
    alone = _list_bundled_needs(plugin)
    result = []
    like = [p for p in started.values() if _get_architecture(p) == image.architecture]
    for program in like[:MAX_PROGRAMS]:
        opened = world.dlopen_process(program, plugin.entry)
        if _list_bundled_needs(opened) - alone:
            result.append((program, opened))
    return result


def _get_architecture(process: Process) -> object:
    image = process.objects[0].image
    return image.architecture if image else None


def _list_bundled_needs(process: Process) -> set[tuple[str, str]]:
    """The needs that the pack meets: who needs, and what."""
    return {
        (n.requester.label, n.name)
        for n in process.resolutions
        if n.result.origin is ObjectOrigin.BUNDLE
    }


def _list_unbundled_names(processes: Iterable[Process]) -> set[str]:
    return {
        n.name
        for p in processes
        for n in p.resolutions
        if n.result.origin is not ObjectOrigin.BUNDLE
    }


def group_names_by_path(bundle: Bundle) -> dict[str, set[str]]:
    """Every name that leads to each library of a pack."""
    names: dict[str, set[str]] = {}
    for name, paths in bundle.paths_by_name.items():
        for path in paths:
            names.setdefault(path, set()).add(name)
    return names


def find_object(bundle: Bundle, text: str, where: str) -> str:
    """The path of the ELF file that a user means by a path (also with the top folder) or a name.

    Args:
        bundle: the pack.
        text: what the user wrote.
        where: the artifact's name, for messages.

    Raises:
        BundleFixError: the pack has no such file, or several.
    """
    wanted = text.strip("/").removeprefix("./")
    top = bundle.tree.top.removeprefix("./")
    for path in (wanted, wanted.removeprefix(f"{top}/") if top else wanted):
        real = resolve_path(bundle.tree, path)
        if isinstance(real, str) and real in bundle.images:
            return real
    named = {path for path in bundle.images if posixpath.basename(path) == wanted}
    named |= set(bundle.paths_by_name.get(wanted, ()))
    if len(named) > 1:
        raise BundleFixError(
            f"{text} may be any of {', '.join(sorted(named)[:5])}", where=where,
            hint="give the path",
        )  # fmt: skip
    if not named:
        from difflib import get_close_matches

        close = get_close_matches(wanted, [*bundle.images, *bundle.paths_by_name], 1)
        hint = f"did you mean {close[0]}?" if close else "give a path in it"
        raise BundleFixError(f"it has no ELF file {text}", where=where, hint=hint)
    return named.pop()
