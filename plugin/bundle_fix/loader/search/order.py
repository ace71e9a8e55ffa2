"""The search for one needed name, in the loader's order of rules.

Sources: glibc's elf/dl-load.c, _dl_map_object; musl's ldso/dynlink.c, load_library. docs/loader.md
describes both orders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.host import LD_CACHE
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin, ProcessContext
from bundle_fix.loader.search.directories import SearchDirectory, expand_tokens, has_literal_tokens
from bundle_fix.loader.search.probe import (
    Search,
    format_place,
    search_directories,
    try_candidate,
)
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep, build_rule_step
from bundle_fix.model.symlinks import Unresolved


def search_library(context: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """Search for ``name`` by all rules; objects that are already loaded are not considered.

    Args:
        context: the process.
        name: the needed name as written in the file.
        requester: the object that needs it; its image is known.
    """
    search = Search(context, name, requester, [])
    if "/" in name:
        return _resolve_direct_path(search)
    libc = context.loader.libc
    found = _run_stages(search, (*PATH_STAGES[libc], *SYSTEM_STAGES[libc]))
    if found is not None:
        return found
    if context.host.is_expected(name, libc) and context.view.host is not None:
        place = posixpath.join(next(iter(context.loader.defaults), "/lib"), name)
        search.trace.append(SearchStep(place, SearchRule.DEFAULT, Outcome.EXPECTED))
        return search.build_host_copy(place, SearchRule.DEFAULT)
    return search.build_missing(SearchRule.DEFAULT)


def drop_unexpected_host_copy(context: ProcessContext, found: LoadedObject) -> LoadedObject:
    """Return ``found``, but as missing if it is a host's copy that no host is expected to have.

    Only a host with unknown files has such copies. A name that the pack provides stays: the host's
    copy is then the danger that checks report.
    """
    if context.view.host is not None or found.origin is not ObjectOrigin.HOST:
        return found
    bundle, host = context.view.bundle, context.host
    like = found.loaded_by.image if found.loaded_by else None
    provided = like is not None and bundle.find_providers(posixpath.basename(found.name), like)
    libc = context.loader.libc
    if provided or host.is_expected(found.name, libc) or host.is_common(found.name, libc):
        return found
    if found.via is SearchRule.DIRECT:
        return found
    *before, last = found.trace
    trace = (*before, replace(last, outcome=Outcome.NOT_EXPECTED))
    return replace(found, path=None, origin=ObjectOrigin.MISSING, trace=trace)


def search_paths(context: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """Search for ``name`` by the paths of objects and LD_LIBRARY_PATH only; see `search_library`.

    A name with a slash is a path and is resolved.
    """
    search = Search(context, name, requester, [])
    if "/" in name:
        return _resolve_direct_path(search)
    found = _run_stages(search, PATH_STAGES[context.loader.libc])
    return found or search.build_missing(SearchRule.RUNPATH)


def search_system(context: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """Search for ``name`` in the host's cache and default directories; see `search_library`."""
    search = Search(context, name, requester, [])
    found = _run_stages(search, SYSTEM_STAGES[context.loader.libc])
    return found or search.build_missing(SearchRule.DEFAULT)


_Stage = Callable[[Search], LoadedObject | None]


def _run_stages(search: Search, stages: Iterable[_Stage]) -> LoadedObject | None:
    """Return the result of the first rule that ends the search, or None."""
    return next((found for stage in stages if (found := stage(search)) is not None), None)


def _search_rpaths(search: Search) -> LoadedObject | None:
    """Search the RPATH of the requester and of its load chain, unless it has a RUNPATH."""
    if search.image.runpath is not None:
        return None
    seen: set[SearchDirectory] = set()
    for owner in search.context.find_rpath_owners(search.requester):
        rpath = (owner.image.rpath if owner.image else None) or ""
        # Objects of one directory often have the same entries: each is reported once.
        directories = search.expand_path(rpath, SearchRule.RPATH, owner)
        new = [d for d in directories if d._replace(owner="") not in seen]
        seen.update(d._replace(owner="") for d in new)
        found = search_directories(search, new)
        if found is not None:
            return found
    return None


def _search_library_path(search: Search) -> LoadedObject | None:
    """Search LD_LIBRARY_PATH, which privileged programs ignore (ld.so(8))."""
    environment, via = search.context.environment, SearchRule.LD_LIBRARY_PATH
    if not environment.hostile and not environment.library_path:
        return None
    if search.context.secure:
        search.trace.append(build_rule_step(via, Outcome.SECURE_EXECUTION))
        return None
    if environment.hostile:
        search.trace.append(build_rule_step(via, Outcome.ANY_COPY))
        return search.build_host_copy(f"$LD_LIBRARY_PATH/{search.name}", via)
    # $ORIGIN in the variable is the program's directory.
    main = search.context.main
    return search_directories(search, search.expand_path(environment.library_path, via, main))


def _search_runpath(search: Search) -> LoadedObject | None:
    """Search the requester's own RUNPATH; no other object inherits it."""
    text = search.image.runpath or ""
    directories = search.expand_path(text, SearchRule.RUNPATH, search.requester)
    return search_directories(search, directories)


def _search_inherited_paths(search: Search) -> LoadedObject | None:
    """Search as musl does: RUNPATH or else RPATH of each object on the load chain."""
    for owner in search.requester.walk_load_chain():
        image = owner.image
        if image is None:
            continue
        via, text = SearchRule.RUNPATH, image.runpath
        if text is None:
            via, text = SearchRule.RPATH, image.rpath
        found = search_directories(search, search.expand_path(text or "", via, owner))
        if found is not None:
            return found
    return None


def _search_cache(search: Search) -> LoadedObject | None:
    """Search ld.so.cache, if the host's files are known."""
    context = search.context
    if context.view.host is None:
        return None
    host, view, via = context.host, context.view, SearchRule.CACHE
    cached = list(host.find_cached_libraries(view, search.name, search.image, context.loader))
    if not cached:
        search.trace.append(build_rule_step(via, Outcome.NOT_LISTED))
    for path, source in cached:
        # -z nodefaultlib also excludes cached files of the default directories (_dl_map_object).
        if _has_nodeflib_flag(search.image) and path.startswith(context.loader.trusted):
            search.trace.append(SearchStep(path, via, Outcome.NOT_SEARCHED, source))
            continue
        found = try_candidate(search, path, path, SearchDirectory(source, via, path))
        if found is not None:
            return found
    return None


def _search_default_directories(search: Search) -> LoadedObject | None:
    """Search the default directories; a host with unknown files has every library there."""
    loader, via = search.context.loader, SearchRule.DEFAULT
    if loader.libc is Libc.GLIBC and _has_nodeflib_flag(search.image):
        search.trace.append(build_rule_step(via, Outcome.NOT_SEARCHED))
        return search.build_missing(via)
    if search.context.view.host is None:
        place = posixpath.join(loader.defaults[0], search.name)
        # glibc may also find it in the cache, which musl does not have.
        cache = LD_CACHE if loader.libc is Libc.GLIBC else ""
        search.trace.append(SearchStep(place, via, Outcome.HOST_COPY, cache))
        return search.build_host_copy(place, via)
    return search_directories(search, [SearchDirectory("", via, path) for path in loader.defaults])


def _has_nodeflib_flag(image: Image) -> bool:
    return bool((image.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_NODEFLIB)


PATH_STAGES: dict[Libc, tuple[_Stage, ...]] = {
    Libc.GLIBC: (_search_rpaths, _search_library_path, _search_runpath),
    Libc.MUSL: (_search_library_path, _search_inherited_paths),
}
"""The rules of each loader for a name without a slash, in their order: first the paths."""
SYSTEM_STAGES: dict[Libc, tuple[_Stage, ...]] = {
    Libc.GLIBC: (_search_cache, _search_default_directories),
    Libc.MUSL: (_search_default_directories,),
}
"""Then the host's own directories."""


def _resolve_direct_path(search: Search) -> LoadedObject:
    """Resolve a needed name with a slash: it is a path and is not searched."""
    context, via = search.context, SearchRule.DIRECT
    path: str | Outcome = search.name
    if not has_literal_tokens(context, via):
        path = expand_tokens(context, search.name, search.requester)
    # elf/dl-deps.c, expand_dst: in privileged programs needed names may not contain tokens.
    if "$" in search.name and context.secure:
        path = Outcome.SECURE_EXECUTION
    if isinstance(path, Outcome):
        search.trace.append(SearchStep(search.name, via, path))
        return search.build_missing(via)
    if context.view.host is not None:
        # The loader names the object by its expanded path. Without a host that path contains
        # UNKNOWN_PLACE, so messages keep the tokens.
        search = search._replace(name=path)
    if not path.startswith("/"):
        if context.environment.working_directory is None:
            search.trace.append(SearchStep(search.name, via, Outcome.WORKING_DIRECTORY))
            return search.build_missing(via)
        path = posixpath.join(context.environment.working_directory, path)
    view = context.view
    if view.resolve_path(path) is Unresolved.OUTSIDE and view.get_relative_path(path) is None:
        search.trace.append(SearchStep(path, via, Outcome.ON_HOST))
        return search.build_host_copy(path, via)
    directory = SearchDirectory("", via, path)
    found = try_candidate(search, path, format_place(search, path), directory)
    return found or search.build_missing(via)
