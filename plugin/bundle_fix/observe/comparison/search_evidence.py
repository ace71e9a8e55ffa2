"""The search rule that chose an object, judging by the path under which the loader opened it.

glibc builds l_name from an entry of a search path, a slash and the needed name, so ``..`` and
symlinks in it show the entry (elf/dl-load.c, open_path).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.loader.search.tokens import TOKEN
from bundle_fix.observe.comparison.pack_contents import PackedFile
from bundle_fix.observe.comparison.verdict import ComparedObject, Comparison
from bundle_fix.observe.snapshot import Aux, ProcessSnapshot

HWCAPS = re.compile(r"/(glibc-hwcaps/[^/]+|tls|haswell|avx512_1|x86_64)(?=/|$)")
"""Subdirectories that the loader tries in each directory of a search."""
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


def find_evidence(
    snapshot: ProcessSnapshot, comparison: Comparison, compared: ComparedObject
) -> SearchEvidence | None:
    """Return the rule that chose an object; None for the program and the kernel's own object."""
    observed = compared.observed
    if observed.is_main or observed.path is None or observed.namespace is None:
        return None
    variables = snapshot.environment or {}
    for name in re.split(r"[ :]", variables.get("LD_PRELOAD", "")):
        if name and (name == observed.name or name in observed.names):
            return SearchEvidence(SearchRule.PRELOAD, name)
    # The program that the kernel started is the loader itself, if a user runs it as a command.
    if observed.address == snapshot.vector.get(Aux.BASE) or observed.path == snapshot.program:
        return SearchEvidence(SearchRule.LOADED)
    name = posixpath.basename(observed.name)
    owners = list(_list_owners(comparison, name))
    # A library is mapped after the object that needs it.
    earlier = comparison.objects[: comparison.objects.index(compared)]
    is_needed = any(name in file.needed and owner in earlier for owner, file in owners)
    if any(observed.name in file.needed for _, file in owners):
        return SearchEvidence(SearchRule.DIRECT, is_needed=True)
    directory = HWCAPS.sub("", posixpath.dirname(observed.name)) or "/"
    is_system = SYSTEM_DIRECTORY.fullmatch(posixpath.normpath(directory)) is not None
    found = (
        _match_library_path(snapshot, comparison, directory)
        or _match_owner_paths(owners, directory)
        or SearchEvidence(SearchRule.DEFAULT if is_system else None)
    )
    return replace(found, is_needed=is_needed)


def _list_owners(comparison: Comparison, name: str) -> Iterator[tuple[ComparedObject, PackedFile]]:
    """Yield the objects with what is known of their search paths, first those that need ``name``.

    The strings of an object are rarely dumped, but the pack has them.
    """
    later: list[tuple[ComparedObject, PackedFile]] = []
    for compared in comparison.objects:
        loaded = compared.observed.loaded
        file: PackedFile | None = None
        if loaded is not None and loaded.is_complete:
            i = loaded.image
            file = PackedFile(i.machine, i.soname, None, i.needed, i.rpath, i.runpath)
        elif comparison.pack is not None and compared.member is not None:
            file = comparison.pack.files[compared.member]
        if file is None:
            continue
        if name in file.needed:
            yield compared, file
        else:
            later.append((compared, file))
    yield from later


def _match_library_path(
    snapshot: ProcessSnapshot, comparison: Comparison, directory: str
) -> SearchEvidence | None:
    text = (snapshot.environment or {}).get("LD_LIBRARY_PATH", "")
    main: Sequence[str | None] = [o.observed.path for o in comparison.objects if o.observed.is_main]
    origin = posixpath.dirname(main[0] or "") if main else ""
    for entry in re.split(r"[:;]", text) if text else ():
        # An empty entry is the working directory.
        expanded = _expand_entry(entry, origin) or snapshot.working_directory or "."
        if _normalize(expanded) == _normalize(directory):
            return SearchEvidence(SearchRule.LD_LIBRARY_PATH, entry or "(empty)")
    return None


def _match_owner_paths(
    owners: Sequence[tuple[ComparedObject, PackedFile]], directory: str
) -> SearchEvidence | None:
    for compared, file in owners:
        rule = SearchRule.RPATH if file.runpath is None else SearchRule.RUNPATH
        observed = compared.observed
        origins = {posixpath.dirname(p) for p in (observed.name, observed.path) if p}
        text = file.rpath if file.runpath is None else file.runpath
        for entry in (text or "").split(":"):
            for origin in origins:
                if entry and _normalize(_expand_entry(entry, origin)) == _normalize(directory):
                    return SearchEvidence(rule, entry, compared.member or observed.label)
    return None


def _expand_entry(entry: str, origin: str) -> str:
    return TOKEN.sub(lambda match: origin if "ORIGIN" in match[0] else match[0], entry)


def _normalize(path: str) -> str:
    return posixpath.normpath(path)
