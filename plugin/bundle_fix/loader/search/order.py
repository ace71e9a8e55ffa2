"""One needed name, searched as the loader searches it, with the trace of every step.

Sources: glibc's elf/dl-load.c, _dl_map_object and open_path; musl's ldso/dynlink.c, load_library.
docs/loader.md has the orders in words.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.rtld import GLIBC, MUSL
from bundle_fix.loader.objects import LoadedObject, Outcome, ProcessContext, SearchStep
from bundle_fix.loader.search.directories import SearchDirectory, expand_tokens, keeps_tokens
from bundle_fix.loader.search.probe import (
    Search,
    format_place,
    search_directories,
    try_candidate,
)
from bundle_fix.loader.search.tokens import Refusal
from bundle_fix.model.tree import Unresolved


def search_library(setting: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """What the loader maps for ``name``, which ``requester`` needs and which is not loaded yet.

    Args:
        setting: where the process runs.
        name: the needed name, as it stands in the file.
        requester: the object that needs it; its image is known.
    """
    this = Search(setting, name, requester, [])
    if "/" in name:
        return _resolve_direct_path(this)
    found = _run_stages(
        this, (*PATH_STAGES[setting.loader.flavour], *SYSTEM_STAGES[setting.loader.flavour])
    )
    if found is not None:
        return found
    if setting.host.is_expected(name) and setting.view.host is not None:
        place = posixpath.join(setting.loader.defaults[0], name)
        this.trace.append(SearchStep(place, "default", Outcome.EXPECTED))
        return this.build_host_copy(place, "default")
    return this.build_missing("default")


def search_paths(setting: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """What the paths of the requester and of what loaded it lead to, or the name where it is one.

    Args:
        setting: where the process runs.
        name: the needed name, as it stands in the file.
        requester: the object that needs it; its image is known.
    """
    this = Search(setting, name, requester, [])
    if "/" in name:
        return _resolve_direct_path(this)
    return _run_stages(this, PATH_STAGES[setting.loader.flavour]) or this.build_missing("runpath")


def search_system(setting: ProcessContext, name: str, requester: LoadedObject) -> LoadedObject:
    """What the host has of ``name``, whatever any object's paths lead to; see `search_paths`."""
    this = Search(setting, name, requester, [])
    return _run_stages(this, SYSTEM_STAGES[setting.loader.flavour]) or this.build_missing("default")


def _run_stages(
    this: Search, stages: Iterable[Callable[[Search], LoadedObject | None]]
) -> LoadedObject | None:
    return next((found for stage in stages if (found := stage(this)) is not None), None)


def _search_rpaths(this: Search) -> LoadedObject | None:
    """RPATH: the requester's, then of what caused it to load; silent where it has a RUNPATH."""
    if this.image.runpath is not None:
        return None
    seen: set[SearchDirectory] = set()
    for link in this.setting.find_rpath_owners(this.requester):
        rpath = (link.image.rpath if link.image else None) or ""
        # A directory that several objects of one folder name alike is told once.
        listed = this.expand_search_path(rpath, "rpath", link)
        new = [d for d in listed if d._replace(owner="") not in seen]
        seen.update(d._replace(owner="") for d in new)
        found = search_directories(this, new)
        if found is not None:
            return found
    return None


def _search_library_path(this: Search) -> LoadedObject | None:
    """LD_LIBRARY_PATH, which set-uid programs do not heed."""
    environment, via = this.setting.environment, "ld_library_path"
    if not environment.hostile and not environment.library_path:
        return None
    if this.setting.secure:
        this.trace.append(SearchStep("LD_LIBRARY_PATH", via, Outcome.SECURE_EXECUTION))
        return None
    if environment.hostile:
        this.trace.append(SearchStep("LD_LIBRARY_PATH", via, Outcome.ANY_COPY))
        return this.build_host_copy(f"$LD_LIBRARY_PATH/{this.name}", via)
    return search_directories(
        this,
        this.expand_search_path(environment.library_path, via, this.setting.main),
    )


def _search_runpath(this: Search) -> LoadedObject | None:
    """The requester's own RUNPATH, which serves nobody else."""
    return search_directories(
        this,
        this.expand_search_path(this.image.runpath or "", "runpath", this.requester),
    )


def _search_inherited_paths(this: Search) -> LoadedObject | None:
    """musl: RUNPATH or else RPATH of the requester, then of what caused it to load."""
    for link in this.requester.walk_load_chain():
        image = link.image
        if image is not None:
            via, text = (
                ("rpath", image.rpath) if image.runpath is None else ("runpath", image.runpath)
            )
            found = search_directories(this, this.expand_search_path(text or "", via, link))
            if found is not None:
                return found
    return None


def _search_cache(this: Search) -> LoadedObject | None:
    """ld.so.cache; nothing is known of an adversarial host's."""
    setting = this.setting
    if setting.view.host is None:
        return None
    listed = list(
        setting.host.find_cached_libraries(setting.view, this.name, this.image, setting.loader)
    )
    if not listed:
        this.trace.append(SearchStep("ld.so.cache", "cache", Outcome.NOT_LISTED))
    for path, source in listed:
        if _has_nodeflib_flag(this.image) and path.startswith(setting.loader.trusted):
            this.trace.append(SearchStep(path, "cache", Outcome.NOT_SEARCHED, source))
            continue
        found = try_candidate(this, path, path, SearchDirectory(source, "cache", path))
        if found is not None:
            return found
    return None


def _search_default_directories(this: Search) -> LoadedObject | None:
    """The default directories; the adversarial host has everything in them."""
    loader = this.setting.loader
    if loader.flavour == GLIBC and _has_nodeflib_flag(this.image):
        this.trace.append(SearchStep("default directories", "default", Outcome.NOT_SEARCHED))
        return this.build_missing("default")
    if this.setting.view.host is None:
        place = posixpath.join(loader.defaults[0], this.name)
        this.trace.append(SearchStep(place, "default", Outcome.HOST_COPY))
        return this.build_host_copy(place, "default")
    return search_directories(
        this, [SearchDirectory("", "default", path) for path in loader.defaults]
    )


def _has_nodeflib_flag(image: Image) -> bool:
    return bool((image.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_NODEFLIB)


PATH_STAGES: dict[str, tuple[Callable[[Search], LoadedObject | None], ...]] = {
    GLIBC: (_search_rpaths, _search_library_path, _search_runpath),
    MUSL: (_search_library_path, _search_inherited_paths),
}
"""What each loader asks first for a name without a slash, in this order, until one has it."""
SYSTEM_STAGES: dict[str, tuple[Callable[[Search], LoadedObject | None], ...]] = {
    GLIBC: (_search_cache, _search_default_directories),
    MUSL: (_search_default_directories,),
}
"""What it asks then: the host's own."""


def _resolve_direct_path(this: Search) -> LoadedObject:
    """A needed name with a slash is a path: nothing is searched."""
    setting, via = this.setting, "direct"
    path: str | Refusal = this.name
    if not keeps_tokens(setting, via):
        path = expand_tokens(setting, this.name, this.requester.directory)
    if "$" in this.name and setting.secure:
        path = Refusal.INSECURE
    if isinstance(path, Refusal):
        this.trace.append(SearchStep(this.name, via, Outcome(path.value)))
        return this.build_missing(via)
    if setting.view.host is not None:
        # What the loader knows the object by; where the pack is unknown, its tokens say more.
        this = this._replace(name=path)
    if not path.startswith("/"):
        if setting.environment.working_directory is None:
            this.trace.append(SearchStep(this.name, via, Outcome.WORKING_DIRECTORY))
            return this.build_missing(via)
        path = posixpath.join(setting.environment.working_directory, path)
    view = setting.view
    if view.resolve_path(path) is Unresolved.OUTSIDE and view.get_relative_path(path) is None:
        this.trace.append(SearchStep(path, via, Outcome.ON_HOST))
        return this.build_host_copy(path, via)
    return try_candidate(
        this, path, format_place(this, path), SearchDirectory("", via, path)
    ) or this.build_missing(via)
