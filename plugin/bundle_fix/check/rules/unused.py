"""BF117: needed libraries of which no object uses a symbol.

``ldd -u`` reports the same of one object (glibc's elf/rtld.c, DL_DEBUG_UNUSED).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from bundle_fix.check.context import Context
from bundle_fix.check.facts.symbols.bindings import find_provider
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.wording import join_names
from bundle_fix.elf.scan.constructors import has_constructors
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity

ENTRY_POINT = re.compile(rb"JNI_OnLoad|Java_|PyInit_|napi_register_module|luaopen_|Init_[a-z]")
"""A function that an interpreter looks up in a library that it opens: Java (JNI), Python, Node.js,
Lua, Ruby. Such a library is not only loaded because an object needs it."""


def find_unused_libraries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed libraries of which no object of the pack uses a symbol."""
    if context.only is not None:
        return
    requesters = _group_requesters(context)
    processes = _group_processes(context)
    entries = {*context.programs, *context.plugins}
    names = _list_dlopened_names(context)
    for library, users in requesters.items():
        if library in entries or not names.isdisjoint(context.names_by_library.get(library, ())):
            continue
        if not users <= context.bundle.images.keys() or _acts_alone(context, library):
            continue
        if _is_used(context, library, users, processes[library]):
            continue
        freed = _find_freed(library, requesters, entries)
        if any(
            _is_used(context, other, set(), processes[other], freed) for other in freed - {library}
        ):
            # The object needs another library only through this one.
            continue
        size = sum(context.bundle.images[path].size for path in freed)
        others = format_count(len(freed) - 1, "library", "libraries")
        yield rule.make_finding(
            library,
            f"is needed by {join_names(sorted(users))}, but no object uses its symbols; it costs"
            f" the pack {size:,} bytes"
            + (f", with {others} that only it needs" if len(freed) > 1 else ""),
            needed=context.bundle.images[library].soname or posixpath.basename(library),
            needed_by=sorted(users),
            bytes=size,
            libraries=sorted(freed),
        )


def _acts_alone(context: Context, library: str) -> bool:
    """Return whether a library does something although no object uses a symbol of it."""
    if context.facts.read_fact(library, has_constructors):
        return True
    return any(map(ENTRY_POINT.match, context.facts.read_exports(library).names))


def _group_requesters(context: Context) -> dict[str, set[str]]:
    """Return the paths of the objects that need each library of the pack, by its path."""
    found: dict[str, set[str]] = {}
    for path, needs in context.resolutions_by_object.items():
        for need in needs:
            if need.result.origin is ObjectOrigin.BUNDLE and need.result.path != path:
                found.setdefault(need.result.path or "", set()).add(path)
    return found


def _group_processes(context: Context) -> dict[str, list[Process]]:
    """Return the processes that load each file of the pack, by its path."""
    found: dict[str, list[Process]] = {}
    for process in (*context.programs.values(), *context.plugins.values()):
        for loaded in process.list_bundled_objects():
            found.setdefault(loaded.path or "", []).append(process)
    return found


def _list_dlopened_names(context: Context) -> set[str]:
    """Return the names that an object of the pack, or a program of the policy, may open."""
    noted = (f for features in context.dlopen_notes.values() for f in features)
    names = {name for feature in noted for name in feature.sonames}
    return names.union(context.policy.dlopen, *context.library_strings.values())


def _is_used(
    context: Context,
    library: str,
    likely_users: AbstractSet[str],
    processes: list[Process],
    without: AbstractSet[str] = frozenset(),
) -> bool:
    """Return whether an object of the pack, but those in ``without``, uses a symbol of a library.

    Args:
        context: the pack.
        library: the path of the library.
        likely_users: the paths of objects that are examined first.
        processes: the processes that load the library.
        without: the paths of objects that do not count.
    """
    possible = {o.path for p in processes for o in p.list_bundled_objects() if o.path}
    if any(process.entry in context.programs for process in processes):
        # The program may open any plugin, which then finds the symbols of the library.
        possible |= {p for p in context.iter_dynamic_files() if p not in context.loaded_at_start}
    paths = dict.fromkeys((*sorted(likely_users), *sorted(possible)))
    users = (path for path in paths if path != library and path not in without)
    return any(_uses_symbol(context, user, library, processes) for user in users)


def _uses_symbol(context: Context, user: str, library: str, processes: list[Process]) -> bool:
    """Return whether a reference of ``user`` binds to ``library`` in the first common process.

    Without a common process, a plugin may use the symbols of the program that opens it.
    """
    table = context.facts.read_exports(library)
    undefined = context.facts.read_undefined_symbols(user)
    references = [s for s in undefined if table.provides_symbol(s.name, s.version)]
    if not references:
        return False
    for process in processes:
        labels = {loaded.label for loaded in process.objects}
        if user in labels:
            providers = (
                find_provider(context.facts, process.objects, s.name, s.version) for s in references
            )
            return any(p is not None and p.label == library for p in providers)
    return True


def _find_freed(
    library: str, requesters: Mapping[str, AbstractSet[str]], entries: AbstractSet[str]
) -> set[str]:
    """Return the files that no entry point would load any more if no object needed ``library``."""
    freed = {library}
    while True:
        more = {
            path
            for path, users in requesters.items()
            if path not in freed and path not in entries and users <= freed
        }
        if not more:
            return freed
        freed |= more


RULES = (
    Rule(
        "BF117", "unused-library", Severity.NOTE,
        "An object needs a library of the pack, but no object uses a symbol of it.",
        "The library makes the pack larger and the start of the program slower. Libraries with"
        " constructors, which act when they are loaded, are not reported.",
        "Link the object with -Wl,--as-needed, or run 'bundle-fix elf --remove-needed', and remove"
        " the library.",
        "bin/server was linked with -lnuma, but calls none of its functions.",
        find_unused_libraries,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
