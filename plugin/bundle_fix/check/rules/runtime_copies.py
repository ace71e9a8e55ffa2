"""BF311 and BF312: several copies of the compiler's run-time libraries in one process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import SANITIZER_MARKER
from bundle_fix.check.facts.symbols.bindings import find_names_bound_to, find_provider
from bundle_fix.check.facts.symbols.scopes import SymbolScope, find_shared_scopes
from bundle_fix.check.findings import Finding, make_copies_root
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.symbols.hashes import find_provided_symbols
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.model.content import Reader
from bundle_fix.model.library_names import get_library_family
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity


class Runtime(Struct, frozen=True):
    """A run-time library of which an object may contain a static copy.

    Attributes:
        shared: the families of the shared libraries.
        markers: functions that a static copy defines. A hook that replaces one function, such as
            ``__cxa_throw`` of a profiler, does not define all of them.
        pattern: matches the names of its symbols, for shared libraries whose files are unknown.
    """

    shared: frozenset[str]
    markers: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


RUNTIMES: Mapping[str, Runtime] = {
    "libstdc++": Runtime(
        frozenset({"libstdc++", "libc++", "libc++abi"}),
        (b"__cxa_throw", b"__cxa_begin_catch", b"__gxx_personality_v0"),
        re.compile(rb"__cxa_|__gxx_|_Z(T[IVS])?N?K?S[tabdios]|_ZN10__cxxabiv1|_ZN9__gnu_cxx"),
    ),
    "libgcc": Runtime(
        frozenset({"libgcc_s"}),
        (b"_Unwind_RaiseException", b"_Unwind_Resume", b"_Unwind_GetIP"),
        re.compile(rb"_Unwind_|__(de)?register_frame"),
    ),
}
"""The libraries that -static-libstdc++ and -static-libgcc link statically (gcc(1)).

Sources of the functions: the Itanium C++ ABI, "Exception Handling" (libsupc++, libgcc_eh).
"""
RUNTIME_FAMILIES = frozenset({"libunwind", "libcxxrt"}).union(
    *(runtime.shared for runtime in RUNTIMES.values())
)
"""The families of shared libraries that define these functions for others."""

OPENMP_RUNTIMES: Mapping[str, str] = {
    "libgomp": "GNU", "libomp": "LLVM", "libiomp": "Intel", "libnvomp": "NVIDIA",
}  # fmt: skip
"""The families of OpenMP runtimes, and their makers."""
OPENMP_NAME = re.compile(rb"GOMP_|__kmpc_|omp_")
"""A name that an OpenMP runtime defines (libgomp's manual; LLVM's "OpenMP runtime")."""
OPENMP_MARKERS = (b"omp_get_max_threads", b"GOMP_parallel", b"__kmpc_fork_call")
"""The first, and one of the others, are in every runtime."""


def find_static_copies(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects with a copy of a run-time library whose symbols mix with the shared one."""
    reported: set[str] = set()
    for name, runtime in RUNTIMES.items():
        for scope in find_shared_scopes(context, partial(_classify_runtime, context, name)):
            shared = [o for o in scope.objects if get_library_family(o.soname) in runtime.shared]
            for copy in scope.objects:
                if (
                    copy.label in reported
                    or not shared
                    or get_library_family(copy.soname) in runtime.shared
                ):
                    continue
                if _classify_runtime(context, name, copy):
                    bound = _find_mixed_bindings(context, scope, copy, shared[0], runtime)
                    if bound:
                        reported.add(copy.label)
                        yield _make_copy_finding(rule, scope, name, copy, shared[0], bound)


def _classify_runtime(context: Context, name: str, loaded: LoadedObject) -> tuple[str, ...]:
    """Return the runtime ``name`` if an object is a shared copy of it, or exports a static copy."""
    runtime, family = RUNTIMES[name], get_library_family(loaded.soname)
    if family in runtime.shared:
        return (name,)
    if family in RUNTIME_FAMILIES or loaded.image is None or not loaded.image.is_dynamic:
        return ()
    found = context.facts.read_fact(loaded, _read_runtime_markers)
    return (name,) if found >= set(runtime.markers) and SANITIZER_MARKER not in found else ()


def _read_runtime_markers(reader: Reader, image: Image) -> frozenset[bytes]:
    first = [runtime.markers[0] for runtime in RUNTIMES.values()]
    # Most objects define none of them; the others are looked up only if needed.
    if not find_provided_symbols(reader, image, first):
        return frozenset()
    markers = [marker for runtime in RUNTIMES.values() for marker in runtime.markers]
    return find_provided_symbols(reader, image, [*markers, SANITIZER_MARKER])


def _find_mixed_bindings(
    context: Context,
    scope: SymbolScope,
    copy: LoadedObject,
    shared: LoadedObject,
    runtime: Runtime,
) -> dict[str, list[bytes]]:
    """Return the names that objects bind to the wrong one of two copies, by the object's label.

    If the static copy comes first, these are the references of all other objects, also of the
    shared library; otherwise the references of the object with the static copy.
    """
    facts = context.facts
    strong = facts.read_exports(copy).strong
    known = shared.image is not None
    defined = facts.read_exports(shared).names if known else frozenset[bytes]()
    names = strong & defined if known else strong
    is_first = scope.objects.index(copy) < scope.objects.index(shared)
    # Of an unknown shared library only the names are known: it takes what the copy defines.
    provider = shared if known and not is_first else copy
    bound: dict[str, list[bytes]] = {}
    for user in scope.users:
        if (user.label == copy.label) is not is_first:
            found = find_names_bound_to(facts, scope.objects, user, provider, names)
            found = [name for name in found if known or runtime.pattern.match(name)]
            if found:
                bound[user.label] = found
    return bound


def _make_copy_finding(
    rule: Rule,
    scope: SymbolScope,
    name: str,
    copy: LoadedObject,
    shared: LoadedObject,
    bound: Mapping[str, list[bytes]],
) -> Finding:
    provider = shared if copy.label in bound else copy
    users = [f"{u} binds {format_count(len(n), 'symbol')}" for u, n in bound.items()]
    is_mild = scope.is_opened or name == "libgcc"
    return rule.make_finding(
        copy.label,
        f"contains a copy of {name} and exports it, and {shared.label} is in the same process:"
        f" {join_names(users, 3)} to {provider.label}",
        severity=Severity.NOTE if is_mild else rule.severity,
        files=[copy.label, shared.label],
        bindings={user: [decode_name(n) for n in names[:20]] for user, names in bound.items()},
        program=scope.entry,
    )


def find_two_openmp_runtimes(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the processes with several OpenMP runtimes that are used."""
    reported: set[frozenset[str]] = set()
    for scope in find_shared_scopes(context, partial(_classify_openmp, context)):
        users = _find_openmp_users(context, scope)
        labels = frozenset(users)
        if len(users) > 1 and labels not in reported:
            reported.add(labels)
            severity = Severity.NOTE if scope.is_opened else rule.severity
            yield _make_openmp_finding(rule, scope.entry, users, severity)
    if context.programs:
        return
    # Extension modules of a wheel are opened by one interpreter.
    alone: dict[str, list[str]] = {}
    for process in context.plugins.values():
        for loaded in process.objects:
            if _classify_openmp(context, loaded):
                alone.setdefault(loaded.label, []).append(process.entry)
    if len(alone) > 1 and not any(labels <= alone.keys() for labels in reported):
        entry = next(iter(alone.values()))[0]
        yield _make_openmp_finding(rule, entry, alone, Severity.NOTE)


def _make_openmp_finding(
    rule: Rule, entry: str, users: Mapping[str, list[str]], severity: Severity
) -> Finding:
    texts = [f"{runtime} (for {join_names(names, 2)})" for runtime, names in users.items()]
    return rule.make_finding(
        entry,
        f"has {len(users)} OpenMP runtimes in its process: {', '.join(texts)}",
        severity=severity,
        root=make_copies_root(users),
        files=sorted(users),
        users={runtime: list(names) for runtime, names in users.items()},
    )


def _classify_openmp(context: Context, loaded: LoadedObject) -> tuple[str, ...]:
    if loaded.origin is ObjectOrigin.MISSING:
        return ()
    is_runtime = get_library_family(loaded.soname) in OPENMP_RUNTIMES
    if not is_runtime and loaded.image is not None and loaded.image.is_dynamic:
        found = context.facts.read_fact(loaded, _read_openmp_markers)
        is_runtime = OPENMP_MARKERS[0] in found and len(found) > 1
    return ("openmp",) if is_runtime else ()


def _read_openmp_markers(reader: Reader, image: Image) -> frozenset[bytes]:
    return find_provided_symbols(reader, image, OPENMP_MARKERS)


def _find_openmp_users(context: Context, scope: SymbolScope) -> dict[str, list[str]]:
    """Return the objects that use each OpenMP runtime of a scope, by its label.

    A runtime to which nothing binds, because another one defines the same names, is not used. An
    unknown file of a host counts as used by the objects that need it.
    """
    found: dict[str, list[str]] = {}
    runtimes = {o.label: o for o in scope.objects if _classify_openmp(context, o)}
    for user in scope.objects:
        if user.label in runtimes or user.image is None or not user.image.is_dynamic:
            continue
        used = {n for n in scope.list_needed(user) if n in runtimes and runtimes[n].image is None}
        for symbol in context.facts.read_undefined_symbols(user):
            if OPENMP_NAME.match(symbol.name):
                provider = find_provider(context.facts, scope.objects, symbol.name, symbol.version)
                used |= {provider.label} & runtimes.keys() if provider else set()
        for label in sorted(used):
            found.setdefault(label, []).append(user.label)
    return found


RULES = (
    Rule(
        "BF311", "static-runtime-copy", Severity.WARNING,
        "An object contains a copy of libstdc++ or libgcc, and exports it beside the shared one.",
        "Objects of the process use functions of the one copy with data of the other, such as"
        " locales and exceptions, and crash.",
        "Link the object without -static-libstdc++ and -static-libgcc, or hide the copy with"
        " -Wl,--exclude-libs,ALL.",
        "lib/libjson.so.1 was linked with -static-libstdc++, and bin/server needs libstdc++.so.6.",
        find_static_copies,
    ),
    Rule(
        "BF312", "two-openmp-runtimes", Severity.WARNING,
        "A process has several OpenMP runtimes, such as libgomp and libiomp5.",
        "Each starts as many threads as there are processors. A program that uses both hangs, or"
        " LLVM's runtime ends it: 'OMP: Error #15'.",
        "Build all objects with one compiler's OpenMP runtime.",
        "bin/server needs libgomp.so.1, and lib/libmath.so.1 needs libiomp5.so.",
        find_two_openmp_runtimes,
    ),
)  # fmt: skip
