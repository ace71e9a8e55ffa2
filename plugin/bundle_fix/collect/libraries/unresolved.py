"""Libraries that objects of a pack need and the pack does not provide, with the chain of needs.

The walk starts at each program, as the loader does, but follows the files that the objects were
copied from. So `$ORIGIN` and an inherited RPATH have the values of the build machine.
"""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.collect.libraries.build_machine import BuildMachine
from bundle_fix.collect.pack_builder import Origin
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin, ProcessContext
from bundle_fix.loader.search.dependencies import DependencyKind, read_dependencies
from bundle_fix.loader.search.steps import SearchRule

MAX_CHAINS = 3
"""Chains to one name that an error prints."""


class UnresolvedNeed(Struct, frozen=True, eq=False):
    """A library that an object of the pack needs and the pack does not provide.

    Attributes:
        name: the needed name; the base name if DT_NEEDED is a path.
        search_name: DT_NEEDED as the build machine searches for it; a path is absolute.
        requester: the file that the object was copied from, with the object that loaded it.
        context: its process, for a search of the paths of objects.
        system: the same process, for a search of the default directories.
        chain: the paths in the pack from the entry point to the object.
        program: the program of the process; empty for an object that only dlopen(3) loads.
    """

    name: str
    search_name: str
    requester: LoadedObject
    context: ProcessContext
    system: ProcessContext
    chain: tuple[str, ...]
    program: str

    @property
    def requester_path(self) -> str:
        """The path in the pack of the object that needs the library."""
        return self.chain[-1]

    @property
    def libc(self) -> Libc:
        """The C library of its process."""
        return self.context.loader.libc


def find_unresolved(
    bundle: Bundle, origins: Mapping[str, Origin], machine: BuildMachine, dlopened: Sequence[str]
) -> Iterator[UnresolvedNeed]:
    """Yield every need that the pack does not provide, once for each program that has it.

    Args:
        bundle: the pack so far.
        origins: the origin of each path in it.
        machine: the machine that the pack is made on.
        dlopened: names that its programs open at run time.
    """
    reached: set[str] = set()
    programs = bundle.list_programs()
    for path in programs:
        yield from _walk_dependencies(bundle, origins, machine, path, reached, None, dlopened)
    with_rpath = _select_rpath_programs(_map_object(path, bundle, origins) for path in programs)
    for path in [p for p in _sort_outermost_first(bundle) if p not in reached]:
        if path in reached:
            continue
        architecture = bundle.images[path].architecture
        openers = [o for o in with_rpath if o.image and o.image.architecture == architecture]
        # No program needs it, so any program may dlopen it, and then its RPATH applies.
        for opener in openers or (None,):
            names = () if programs else dlopened
            yield from _walk_dependencies(bundle, origins, machine, path, reached, opener, names)


def _select_rpath_programs(mains: Iterable[LoadedObject | None]) -> list[LoadedObject]:
    """Return the programs whose RPATH applies to what they open; of equal ones only one."""
    found: dict[object, LoadedObject] = {}
    for main in mains:
        # With DT_RUNPATH the loader ignores DT_RPATH, and DT_RUNPATH is not inherited (ld.so(8)).
        image = main.image if main is not None else None
        if main is not None and image is not None and image.rpath and image.runpath is None:
            found.setdefault((image.rpath, main.directory, image.architecture), main)
    return list(found.values())


def _sort_outermost_first(bundle: Bundle) -> list[str]:
    """Return all objects, those that no other object needs first."""
    needed = bundle.needed_names
    inner = {
        path for name in needed for path in bundle.paths_by_name.get(posixpath.basename(name), ())
    }
    return sorted((p for p, i in bundle.images.items() if i.is_dynamic), key=lambda p: p in inner)


def _walk_dependencies(
    bundle: Bundle,
    origins: Mapping[str, Origin],
    machine: BuildMachine,
    entry: str,
    reached: set[str],
    opener: LoadedObject | None,
    dlopened: Sequence[str],
) -> Iterator[UnresolvedNeed]:
    """Yield the unresolved needs of ``entry`` and its dependencies; ``opener`` dlopens it."""
    main = _map_object(entry, bundle, origins, opener)
    if main is None:
        return
    context = machine.create_context(opener or main)
    system = machine.create_system_context(context)
    program = entry if bundle.images[entry].is_program else ""
    queue: deque[tuple[LoadedObject, tuple[str, ...]]] = deque([(main, (entry,))])
    seen = {entry}
    while queue:
        loaded, chain = queue.popleft()
        reached.add(chain[-1])
        # The loader ignores it if a DT_AUXILIARY object is missing (gABI).
        needed = [
            dependency.name
            for dependency in read_dependencies(machine.view, loaded, context.loader.libc)
            if dependency.kind is not DependencyKind.AUXILIARY
        ]
        for name in (*needed, *(dlopened if loaded is main else ())):
            base = posixpath.basename(name)
            providers = bundle.find_providers(base, bundle.images[chain[-1]])
            if not providers:
                yield UnresolvedNeed(
                    base, machine.resolve_name(name), loaded, context, system, chain, program
                )
            for path in providers:
                child = None if path in seen else _map_object(path, bundle, origins, loaded)
                seen.add(path)
                if child is not None:
                    queue.append((child, (*chain, path)))


def _map_object(
    path: str, bundle: Bundle, origins: Mapping[str, Origin], loaded_by: LoadedObject | None = None
) -> LoadedObject | None:
    """Return the file that an object of the pack was copied from, as the build machine loads it."""
    origin, image = origins[path], bundle.images[path]
    if origin.source is None or not image.is_dynamic:
        return None
    real = str(origin.source)
    # $ORIGIN of a library is the directory of the path that the search found; symlinks are not
    # resolved. That of a program is its real directory, from /proc/self/exe (dl-origin.c).
    directory = posixpath.dirname(real if image.is_program else str(origin.found or real))
    name = image.soname or posixpath.basename(real)
    return LoadedObject(
        name, real, ObjectOrigin.HOST, SearchRule.LOADED, directory=directory, image=image,
        loaded_by=loaded_by, real_path=real,
    )  # fmt: skip


def format_chains(needs: Sequence[UnresolvedNeed]) -> str:
    """Return one chain for each entry point: ``bin/server → lib/libA.so.1 → libB.so.2``."""
    by_entry: dict[str, UnresolvedNeed] = {}
    for need in needs:
        by_entry.setdefault(need.chain[0], need)
    chains = [" → ".join((*need.chain, need.name)) for need in by_entry.values()]
    more = len(chains) - MAX_CHAINS
    return "; ".join(chains[:MAX_CHAINS]) + (f"; and {more} more" if more > 0 else "")
