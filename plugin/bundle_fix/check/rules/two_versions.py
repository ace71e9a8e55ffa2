"""BF310, BF313 and BF314: two versions or copies of one library in one process."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace
from bundle_fix.check.facts.symbols.bindings import find_names_bound_to
from bundle_fix.check.facts.symbols.scopes import SymbolScope, find_shared_scopes
from bundle_fix.check.findings import Finding, make_copies_root
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.elf.symbols.definitions import read_unique_names
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.library_names import NAME_HASH, get_library_family
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity

STANDARD_NAME = re.compile(rb"_Z(GV)?Z?N?K?S[tabdios]")
"""A mangled name in ``std``: its definitions are the same in all libraries."""


class Clash(Struct, frozen=True):
    """Two versions of one library in one scope; ``bound`` are the names that bind wrongly.

    They are grouped by the label of the object that was linked with ``second``.
    """

    scope: SymbolScope
    first: LoadedObject
    second: LoadedObject
    bound: Mapping[str, list[bytes]]


def find_two_versions(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries whose users get the symbols of another version of the library."""
    for clash in context.compute_once(find_clashes):
        first, second, scope = clash.first, clash.second, clash.scope
        users = [
            f"{user} binds {join_names(list(map(decode_name, names)), 2)}"
            for user, names in clash.bound.items()
        ]
        is_same_version = _strip_hash(first) == _strip_hash(second)
        severity = Severity.WARNING if is_same_version else scope.severity
        path = _choose_path(second, first)
        # The path is the subject of the message.
        subject = "" if path == second.label else f"{second.label} "
        yield rule.make_finding(
            path,
            f"{subject}is in the process of {scope.entry} after {first.label}, which defines"
            f" the same symbols: {join_names(users, 3)} to {first.label}",
            severity=severity,
            root=make_copies_root((first.label, second.label)),
            files=[first.label, second.label],
            bindings={u: sorted(map(decode_name, names)) for u, names in clash.bound.items()},
            program=scope.entry,
            order=[loaded.label for loaded in scope.objects],
        )


def find_clashes(context: Context) -> list[Clash]:
    """Return the pairs of versions of one library with wrong bindings, each once."""
    found: dict[tuple[str, str], Clash] = {}
    for scope in find_shared_scopes(context, _get_family):
        for first, second in _find_pairs(scope.objects):
            key = (first.label, second.label)
            if key in found or _is_same_library(first, second):
                continue
            bound = _find_wrong_bindings(context, scope, first, second)
            if bound:
                found[key] = Clash(scope, first, second, bound)
    return list(found.values())


def _get_family(loaded: LoadedObject) -> tuple[str, ...]:
    if loaded.image is None or not loaded.image.is_library or is_part_of_libc(loaded.soname):
        return ()
    return (get_library_family(loaded.soname),)


def _strip_hash(loaded: LoadedObject) -> str:
    return NAME_HASH.sub("", loaded.soname)


def _find_pairs(objects: Sequence[LoadedObject]) -> Iterator[tuple[LoadedObject, LoadedObject]]:
    """Yield the pairs of objects of one family, at least one of them of the pack."""
    families: dict[str, list[LoadedObject]] = {}
    for loaded in objects:
        for family in _get_family(loaded):
            families.setdefault(family, []).append(loaded)
    for members in families.values():
        for first, second in combinations(members, 2):
            if ObjectOrigin.BUNDLE in (first.origin, second.origin):
                yield first, second


def _is_same_library(first: LoadedObject, second: LoadedObject) -> bool:
    return first.soname == second.soname or first.label == second.label


def _find_wrong_bindings(
    context: Context, scope: SymbolScope, first: LoadedObject, second: LoadedObject
) -> dict[str, list[bytes]]:
    """Return the names of ``second`` that its users, and itself, bind to ``first``."""
    facts = context.facts
    # Weak definitions are inline functions and templates, which are alike in all versions.
    names = facts.read_exports(first).strong & facts.read_exports(second).names
    if not names:
        return {}
    bound: dict[str, list[bytes]] = {}
    for user in scope.users:
        needed = scope.list_needed(user)
        is_user = second.label in needed and first.label not in needed
        if user.label == second.label or (is_user and user.label != first.label):
            wrong = find_names_bound_to(facts, scope.objects, user, first, names)
            if wrong:
                bound[user.label] = wrong
    return bound


def _choose_path(*objects: LoadedObject) -> str:
    return next(o.label for o in objects if o.origin is ObjectOrigin.BUNDLE)


def find_unique_copies(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries with unique symbols of which another copy may be in the process."""
    clashes = {(c.first.label, c.second.label) for c in context.compute_once(find_clashes)}
    families: dict[str, dict[str, tuple[LoadedObject, set[str]]]] = {}
    for process in (*context.programs.values(), *context.plugins.values()):
        # musl looks up unique symbols like all others (ldso/dynlink.c, OK_BINDS).
        if context.get_libc(process.entry) is Libc.MUSL:
            continue
        for loaded in process.list_bundled_objects():
            for family in _get_family(loaded):
                members = families.setdefault(family, {})
                members.setdefault(loaded.label, (loaded, set()))[1].add(process.entry)
    for members in families.values():
        for (first, entries), (second, others) in combinations(members.values(), 2):
            if (first.label, second.label) in clashes or _is_same_library(first, second):
                continue
            same = first.image and second.image and first.image.architecture
            if not same or same != (second.image and second.image.architecture):
                continue
            names = _find_shared_unique_names(context, first, second)
            if names and _may_meet(context, entries, others):
                yield rule.make_finding(
                    second.label,
                    f"defines {format_count(len(names), 'unique symbol')} that {first.label} also"
                    f" defines: {join_names(names, 2)}",
                    severity=rule.severity if entries & others else Severity.NOTE,
                    root=make_copies_root((first.label, second.label)),
                    files=[first.label, second.label],
                    symbols=names,
                )


def _may_meet(context: Context, entries: set[str], others: set[str]) -> bool:
    """Return whether one process may load both: two programs have no process in common."""
    both = entries & others
    return bool(both) or not (entries | others) <= context.programs.keys()


def _find_shared_unique_names(
    context: Context, first: LoadedObject, second: LoadedObject
) -> list[str]:
    one, other = (context.facts.read_fact(o, read_unique_names) for o in (first, second))
    return sorted(decode_name(name) for name in one & other if not STANDARD_NAME.match(name))


def find_two_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed names for which one process has, or would find, two different files."""
    reported: set[tuple[str, ...]] = set()
    for severity, processes in (
        (Severity.WARNING, context.programs.values()),
        (Severity.NOTE, context.plugins.values()),
    ):
        for process in processes:
            for finding in (
                *_find_hidden_files(rule, context, process, severity),
                *_find_double_files(rule, process, severity),
            ):
                key = (finding.path, *finding.evidence["files"])
                if key not in reported:
                    reported.add(key)
                    yield finding


def _find_hidden_files(
    rule: Rule, context: Context, process: Process, severity: Severity
) -> Iterator[Finding]:
    """Yield the objects that get a loaded file, though their own search finds another one."""
    bundle = context.bundle
    for need in process.resolutions:
        loaded, path = need.result, need.requester.path
        if not need.already_loaded or loaded.origin is not ObjectOrigin.BUNDLE or path is None:
            continue
        # Most names have one file: the search need not be repeated for them.
        if len(bundle.paths_by_name.get(posixpath.basename(need.name), ())) < 2:
            continue
        own = context.deployment.repeat_search(need)
        if own.origin is not ObjectOrigin.BUNDLE or own.path in (None, loaded.path):
            continue
        if not bundle.has_same_bytes(own.path or "", loaded.path or ""):
            yield rule.make_finding(
                path,
                f"needs {need.name} and would find {own.label}, but {loaded.label}, which"
                f" {loaded.needed_by} needs, is loaded before",
                severity=severity,
                root=make_copies_root((loaded.label, own.label)),
                needed=need.name,
                files=[loaded.label, own.label],
                program=process.entry,
                trace=describe_trace(own.trace),
            )


def _find_double_files(rule: Rule, process: Process, severity: Severity) -> Iterator[Finding]:
    """Yield the sonames of which a process loads two files, as names with a slash can."""
    by_soname: dict[str, LoadedObject] = {}
    for loaded in process.list_bundled_objects():
        if loaded.image is None or not loaded.image.soname:
            continue
        first = by_soname.setdefault(loaded.image.soname, loaded)
        if first.label != loaded.label:
            yield rule.make_finding(
                loaded.label,
                f"is loaded by {process.entry} for {loaded.needed_by}, after {first.label}, which"
                f" has the same soname {loaded.image.soname}",
                severity=severity,
                root=make_copies_root((first.label, loaded.label)),
                soname=loaded.image.soname,
                files=[first.label, loaded.label],
                program=process.entry,
            )


RULES = (
    Rule(
        "BF310", "two-versions", Severity.ERROR,
        "Two versions of one library are in one process, and their symbols have no versions.",
        "The loader takes the first definition of a symbol. An object that was linked with the one"
        " version calls functions of the other, which have other arguments and data.",
        "Link all objects with one version of the library, or build the library with symbol"
        " versions (-Wl,--default-symver).",
        "bin/server needs libssl.so.3 and libpq.so.5, which needs libssl.so.1.1: libpq.so.5 gets"
        " SSL_new of libssl.so.3.",
        find_two_versions,
    ),
    Rule(
        "BF313", "unique-symbol-copies", Severity.WARNING,
        "Two copies of one library define the same unique symbols (STB_GNU_UNIQUE).",
        "The whole process uses one definition of a unique symbol, also if dlopen() loads the"
        " copies for different plugins. Each copy initializes and destroys the same data.",
        "Keep one copy of the library, or compile it with -fno-gnu-unique.",
        "Two plugins need libproto-1a2b3c4d.so.23 and libproto-5e6f7a8b.so.23, and both define a"
        " static member of a template.",
        find_unique_copies,
    ),
    Rule(
        "BF314", "one-name-two-files", Severity.WARNING,
        "One needed name leads to two different files in one process.",
        "The search paths of two objects lead to different copies. The copy that is loaded first"
        " serves both objects, or a process loads both copies.",
        "Remove one of the files, or let the search paths of all objects lead to the same one.",
        "bin/server has an RPATH to lib/, where liba.so.1 is. lib/ui/libui.so has a RUNPATH to"
        " lib/ui/, where another liba.so.1 is.",
        find_two_files,
    ),
)  # fmt: skip
