"""The search rule that chose an object, judging by the path under which the loader opened it.

glibc builds l_name from an entry of a search path, a slash and the needed name, so ``..`` and
symlinks in it show the entry (elf/dl-load.c, open_path).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.loader.search.tokens import TOKEN
from bundle_fix.observe.comparison.pack_contents import PackedFile
from bundle_fix.observe.comparison.verdict import ComparedObject, Comparison
from bundle_fix.observe.objects import ObservedObject
from bundle_fix.observe.snapshot import Aux, ProcessSnapshot

HWCAPS = re.compile(r"/(glibc-hwcaps/[^/]+|tls|haswell|avx512_1|x86_64)(?=/|$)")
"""Subdirectories that the loader tries in each directory of a search."""
MAX_PATH_ENTRIES = 1000
"""Limit of the entries of one search path; Nix has a hundred."""
SYSTEM_DIRECTORY = re.compile(r"/(usr/(local/)?)?lib(32|64|x32)?(/[^/]*-linux-[^/]*)?")
"""Directories that the loader searches by default, or that ldconfig usually puts into the cache."""


class SearchEvidence(Struct, frozen=True):
    """The rule by which an object was found.

    Attributes:
        rule: the rule; None if no known path leads to it.
        entry: the entry of a search path, or the name in LD_PRELOAD, as written.
        owner: the path of the object that has the entry, or an empty text.
        is_needed: whether an object needs the library; otherwise it was opened at run time.
    """

    rule: SearchRule | None
    entry: str = ""
    owner: str = ""
    is_needed: bool = False


class _PathOwner(Struct, frozen=True):
    """An object with its search path and the names that it needs; ``index`` is its position."""

    index: int
    compared: ComparedObject
    file: PackedFile


class _SearchPaths(Struct, frozen=True):
    """The search paths of a process.

    Attributes:
        owners_by_need: the objects that need each name.
        directories: the rule for each directory of a RUNPATH or RPATH, that of the first object.
        library_path: the same for LD_LIBRARY_PATH.
        preloads: the names in LD_PRELOAD.
    """

    owners_by_need: Mapping[str, list[_PathOwner]]
    directories: Mapping[str, SearchEvidence]
    library_path: Mapping[str, SearchEvidence]
    preloads: frozenset[str]


def find_evidence(
    snapshot: ProcessSnapshot, comparison: Comparison
) -> tuple[SearchEvidence | None, ...]:
    """Return the rule that chose each object; None for the program and the kernel's own object."""
    paths = _read_search_paths(snapshot, comparison)
    return tuple(
        None
        if o.observed.is_main or o.observed.path is None or o.observed.namespace is None
        else _find_rule(snapshot, paths, index, o.observed)
        for index, o in enumerate(comparison.objects)
    )


def _find_rule(
    snapshot: ProcessSnapshot, paths: _SearchPaths, index: int, observed: ObservedObject
) -> SearchEvidence:
    for name in (observed.name, *observed.names):
        if name in paths.preloads:
            return SearchEvidence(SearchRule.PRELOAD, name)
    # The program that the kernel started is the loader itself, if a user runs it as a command.
    if observed.address == snapshot.vector.get(Aux.BASE) or observed.path == snapshot.program:
        return SearchEvidence(SearchRule.LOADED)
    if observed.name in paths.owners_by_need and "/" in observed.name:
        return SearchEvidence(SearchRule.DIRECT, is_needed=True)
    owners = paths.owners_by_need.get(posixpath.basename(observed.name), [])
    directory = posixpath.normpath(HWCAPS.sub("", posixpath.dirname(observed.name)) or "/")
    found = (
        paths.library_path.get(directory)
        or next((e for o in owners if (e := _expand_paths(o).get(directory))), None)
        or paths.directories.get(directory)
        or SearchEvidence(SearchRule.DEFAULT if SYSTEM_DIRECTORY.fullmatch(directory) else None)
    )
    # A library is mapped after the object that needs it.
    return replace(found, is_needed=any(o.index < index for o in owners))


def _read_search_paths(snapshot: ProcessSnapshot, comparison: Comparison) -> _SearchPaths:
    owners_by_need: dict[str, list[_PathOwner]] = {}
    directories: dict[str, SearchEvidence] = {}
    for owner in _list_owners(comparison):
        for name in owner.file.needed:
            owners_by_need.setdefault(name, []).append(owner)
        for directory, evidence in _expand_paths(owner).items():
            directories.setdefault(directory, evidence)
    variables = snapshot.environment or {}
    preloads = frozenset(filter(None, re.split(r"[ :]", variables.get("LD_PRELOAD", ""))))
    library_path = _expand_library_path(snapshot, comparison, variables.get("LD_LIBRARY_PATH", ""))
    return _SearchPaths(owners_by_need, directories, library_path, preloads)


def _list_owners(comparison: Comparison) -> Iterator[_PathOwner]:
    """Yield the objects with what is known of their search paths.

    The strings of an object are rarely dumped, but the pack has them.
    """
    for index, compared in enumerate(comparison.objects):
        loaded = compared.observed.loaded
        if loaded is not None and loaded.is_complete:
            i = loaded.image
            file = PackedFile(i.machine, i.soname, None, i.needed, i.rpath, i.runpath)
            yield _PathOwner(index, compared, file)
        elif comparison.pack is not None and compared.member is not None:
            yield _PathOwner(index, compared, comparison.pack.files[compared.member])


def _expand_library_path(
    snapshot: ProcessSnapshot, comparison: Comparison, text: str
) -> Mapping[str, SearchEvidence]:
    main = next((o.observed.path or "" for o in comparison.objects if o.observed.is_main), "")
    found: dict[str, SearchEvidence] = {}
    for entry in re.split(r"[:;]", text) if text else ():
        # An empty entry is the working directory.
        place = _expand_entry(entry, posixpath.dirname(main)) or snapshot.working_directory or "."
        evidence = SearchEvidence(SearchRule.LD_LIBRARY_PATH, entry or "(empty)")
        found.setdefault(posixpath.normpath(place), evidence)
    return found


def _expand_paths(owner: _PathOwner) -> Mapping[str, SearchEvidence]:
    """Return the rule for each directory in the RUNPATH of an object, or else in its RPATH."""
    file, observed = owner.file, owner.compared.observed
    rule = SearchRule.RPATH if file.runpath is None else SearchRule.RUNPATH
    text = file.rpath if file.runpath is None else file.runpath
    origins = [posixpath.dirname(path) for path in (observed.name, observed.path) if path]
    label = owner.compared.member or observed.label
    return {
        posixpath.normpath(_expand_entry(entry, origin)): SearchEvidence(rule, entry, label)
        for entry in (text or "").split(":")[:MAX_PATH_ENTRIES]
        for origin in origins
        if entry
    }


def _expand_entry(entry: str, origin: str) -> str:
    return TOKEN.sub(lambda match: origin if "ORIGIN" in match[0] else match[0], entry)
