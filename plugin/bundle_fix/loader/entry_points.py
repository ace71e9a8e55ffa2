"""The entry points of a pack: its programs, and libraries that are loaded only by dlopen."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import resolve_path


def map_programs(deployment: Deployment, only: str | None = None) -> dict[str, Process]:
    """Return the process of every program, or of the one at the path ``only``."""
    paths = deployment.bundle.list_programs()
    return {path: deployment.map_process(path) for path in paths if only in (None, path)}


def map_plugins(
    deployment: Deployment, programs: Mapping[str, Process], only: str | None = None
) -> dict[str, Process]:
    """Return the process of every plugin: a library that no program maps when it starts.

    Libraries that no other library needs come first, then those that the first ones do not map
    either. A library that an object needs but does not find is no plugin: it is reported as a
    missing library of that object.

    Args:
        deployment: the pack on its host.
        programs: the processes of its programs.
        only: the path of a single library; None for all.
    """
    bundle = deployment.bundle
    needed = bundle.needed_names
    names = group_names_by_path(bundle)
    found: dict[str, Process] = {}
    mapped = {o.path for p in programs.values() for o in p.list_bundled_objects()}
    unbundled = _list_unbundled_names(programs.values())
    libraries = [path for path in bundle.list_libraries() if only in (None, path)]
    for path in sorted(libraries, key=lambda p: bool(names.get(p, set()) & needed)):
        if path not in mapped and not names.get(path, set()) & unbundled:
            found[path] = deployment.map_process(path)
            mapped |= {o.path for o in found[path].list_bundled_objects()}
            unbundled |= _list_unbundled_names([found[path]])
    return found


MAX_PROGRAMS = 50
"""Limit of the programs in which dlopen of one plugin is simulated."""


def map_plugin_in_programs(
    deployment: Deployment, programs: Mapping[str, Process], plugin: Process
) -> list[tuple[Process, Process]]:
    """Return the programs in which ``plugin`` finds more of the pack than on its own.

    A program that dlopens the plugin helps it with its RPATH and with the libraries that it has
    loaded.

    Args:
        deployment: the pack on its host.
        programs: the processes of its programs.
        plugin: the process of the plugin on its own.

    Returns:
        Pairs of a program and the objects that the plugin adds to it.
    """
    image = deployment.bundle.images[plugin.entry]
    resolved_alone = _list_bundled_needs(plugin)
    result = []
    like = [p for p in programs.values() if _get_architecture(p) == image.architecture]
    for program in like[:MAX_PROGRAMS]:
        added = deployment.dlopen_process(program, plugin.entry)
        if _list_bundled_needs(added) - resolved_alone:
            result.append((program, added))
    return result


def _get_architecture(process: Process) -> object:
    image = process.main.image
    return image.architecture if image else None


def _list_bundled_needs(process: Process) -> set[tuple[str, str]]:
    """Return pairs of a requester and a name for the needed names that resolve to the pack."""
    return {
        (n.requester.label, n.name)
        for n in process.resolutions
        if n.result.origin is ObjectOrigin.BUNDLE
    }


def _list_unbundled_names(processes: Iterable[Process]) -> set[str]:
    """Return the needed names that do not resolve to the pack."""
    return {
        n.name
        for p in processes
        for n in p.resolutions
        if n.result.origin is not ObjectOrigin.BUNDLE
    }


def group_names_by_path(bundle: Bundle) -> dict[str, set[str]]:
    """Return the names that lead to each library of a pack, by the library's path."""
    names: dict[str, set[str]] = {}
    for name, paths in bundle.paths_by_name.items():
        for path in paths:
            names.setdefault(path, set()).add(name)
    return names


def find_elf_file(bundle: Bundle, text: str, where: str) -> str:
    """Return the path of the ELF file that a user gives by path, file name or soname.

    Args:
        bundle: the pack.
        text: the user's input; a path may begin with the archive's top directory.
        where: the artifact's name, for messages.

    Raises:
        BundleFixError: no ELF file matches, or several do.
    """
    query = text.strip("/").removeprefix("./")
    top = bundle.tree.top.removeprefix("./")
    for path in (query, query.removeprefix(f"{top}/") if top else query):
        real = resolve_path(bundle.tree, path)
        if isinstance(real, str) and real in bundle.images:
            return real
        if isinstance(real, str) and real in bundle.foreign_systems:
            raise BundleFixError(
                f"the ELF file is for {bundle.foreign_systems[real]}",
                where=where if posixpath.basename(where) == real else f"{where}: {real}",
                hint="only the loaders of Linux are modelled",
            )
    named = {path for path in bundle.images if posixpath.basename(path) == query}
    named |= set(bundle.paths_by_name.get(query, ()))
    if len(named) > 1:
        raise BundleFixError(
            f"{text} matches {len(named)} ELF files: {', '.join(sorted(named)[:5])}", where=where,
            hint="give the path of one file",
        )  # fmt: skip
    if not named:
        from difflib import get_close_matches

        close = get_close_matches(query, [*bundle.images, *bundle.paths_by_name], 1)
        hint = f"did you mean {close[0]}?" if close else "give the path of an ELF file inside it"
        raise BundleFixError(f"it has no ELF file {text}", where=where, hint=hint)
    return named.pop()
