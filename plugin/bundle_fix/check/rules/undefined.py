"""BF4xx: symbols that nothing in a process defines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol
from bundle_fix.loader.hosts.libc import MUSL_LIBC_NAME, is_part_of_libc, read_glibc_exports
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.policy.severity import Severity

COMPILERS = re.compile(r"lib(stdc\+\+|gcc_s|atomic)\.so\.\d+")
"""Libraries of the compiler, all of whose symbols have versions, as all of glibc's have."""
OWN_NAME = re.compile(rb"_Z(?!N?K?S[abdiost]|T[ISV]N?S|n[aw]|d[al]|N10__cxxabiv1|N9__gnu_cxx)")
"""A C++ name that neither the C library nor the compiler's libraries define."""


def find_undefined(rule: Rule, context: Context) -> Iterator[Finding]:
    """Symbols that no object of a process defines, as far as that can be told.

    A symbol in a version of a library that can be looked into has to be there, whatever else the
    process has; any other only where all objects that could define it are known. What a plugin uses
    may be its program's.
    """
    told: set[tuple[str, bytes]] = set()
    complete: dict[tuple[str, bool], frozenset[str]] = {}
    for severity, process in _processes(context):
        unknown = [mapped for mapped in process.objects if mapped.image is None]
        is_closed = process.entry in context.programs and not any(
            mapped.origin is ObjectOrigin.MISSING or not _has_versions(mapped.name)
            for mapped in unknown
        )
        there = {mapped.label for mapped in process.objects}
        readable = _readable(process)
        for mapped in process.list_bundled_objects():
            # What sufficed in another process suffices here, if all of it is here.
            if complete.get((mapped.label, is_closed), frozenset({""})) <= there:
                continue
            if not is_closed and readable.isdisjoint(context.facts.read_needed_versions(mapped)):
                continue
            wanted = [s for s in context.facts.read_symbol_table(mapped).undefined if not s.weak]
            if not is_closed:
                wanted = [symbol for symbol in wanted if symbol.library in readable]
            lost, used = _undefined(context.facts, process, mapped, wanted, unknown)
            if not lost:
                complete[mapped.label, is_closed] = used
            fresh = [symbol for symbol in lost if (mapped.label, symbol.name) not in told]
            told |= {(mapped.label, symbol.name) for symbol in lost}
            if fresh:
                yield _finding(rule, process, mapped, fresh, severity)


def _processes(context: Context) -> Iterator[tuple[Severity, Process]]:
    """Programs, then plugins, each with how bad it is when it fails."""
    yield from ((Severity.ERROR, process) for process in context.programs.values())
    yield from ((context.plugin_severity, process) for process in context.plugins.values())


def _readable(process: Process) -> frozenset[str]:
    """The names of the libraries of a process that can be looked into."""
    known = [mapped for mapped in process.objects if mapped.image is not None]
    sonames = [mapped.image.soname for mapped in known if mapped.image and mapped.image.soname]
    return frozenset([*(mapped.name for mapped in known), *sonames])


def _has_versions(name: str) -> bool:
    """Whether all that a library of the host defines has versions, whoever built it."""
    is_glibc = is_part_of_libc(name) and not MUSL_LIBC_NAME.fullmatch(name)
    return is_glibc or COMPILERS.fullmatch(name) is not None


def _undefined(
    symbols: FileFacts,
    process: Process,
    mapped: LoadedObject,
    wanted: Sequence[UndefinedSymbol],
    unknown: Sequence[LoadedObject],
) -> tuple[list[UndefinedSymbol], frozenset[str]]:
    """Those of the symbols of one object that nothing defines, and what defines the others."""
    names = {one.name for one in unknown}
    left = [symbol for symbol in wanted if symbol.library not in names]
    used = {one.label for one in unknown}
    for provider in process.objects:
        if not left:
            break
        if provider.image is not None and provider.image.is_dynamic:
            table = symbols.read_symbol_table(provider)
            rest = [
                symbol for symbol in left if not table.provides_symbol(symbol.name, symbol.version)
            ]
            if len(rest) < len(left):
                used.add(provider.label)
            left = rest
    if left:
        may_define = _may_define(symbols, mapped, unknown)
        left = [
            symbol
            for symbol in left
            if not may_define(symbol) and not _is_told_already(symbols, process, symbol)
        ]
    return left, frozenset(used)


def _is_told_already(symbols: FileFacts, process: Process, symbol: UndefinedSymbol) -> bool:
    """Whether the library that should have the symbol lacks its whole version (BF404)."""
    library = _named(process, symbol.library)
    if library is None or library.image is None:
        return False
    offered = symbols.read_defined_versions(library)
    return offered is not None and symbol.version not in offered


def _named(process: Process, name: str | None) -> LoadedObject | None:
    """The object of a process that is called ``name``."""
    for mapped in process.objects if name else ():
        if name == mapped.name or (mapped.image is not None and name == mapped.image.soname):
            return mapped
    return None


def _may_define(
    symbols: FileFacts, user: LoadedObject, unknown: Sequence[LoadedObject]
) -> Callable[[UndefinedSymbol], bool]:
    """Whether one of the libraries that cannot be looked into may define what ``user`` wants.

    Whoever was linked with a library whose symbols all have versions wants them in versions: what
    it wants without one was not there.
    """
    versions = symbols.read_needed_versions(user)
    unasked = [one for one in unknown if one.name not in versions]
    is_libc_there = any(is_part_of_libc(one.name) for one in unasked)
    exports = read_glibc_exports() if is_libc_there else frozenset[bytes]()

    def may_define(symbol: UndefinedSymbol) -> bool:
        if not unasked or symbol.library is not None or OWN_NAME.match(symbol.name):
            return False
        return symbol.name.startswith(b"_") or symbol.name in exports

    return may_define


def _finding(
    rule: Rule,
    process: Process,
    mapped: LoadedObject,
    lost: Sequence[UndefinedSymbol],
    severity: Severity,
) -> Finding:
    names = sorted(map(_spelled, lost))
    place = "" if mapped.label == process.entry else f" in the process of {process.entry}"
    return rule.make_finding(
        mapped.label,
        f"uses {join_names(names)}, which nothing{place} defines",
        severity=severity,
        symbols=names,
        program=process.entry,
        asked=[one.label for one in process.objects],
    )


def _spelled(symbol: UndefinedSymbol) -> str:
    name = decode_name(symbol.name)
    return f"{name}@{symbol.version}" if symbol.version else name


RULES = (
    Rule(
        "BF405", "undefined-symbol", Severity.ERROR,
        "An object uses a symbol that nothing in the process defines.",
        "The loader ends the program when it starts, or at the first call: 'undefined symbol'.",
        "Link the library that defines it, or put the copy into the pack that does.",
        "lib/libreplica.so uses rocksdb::DB::Open, which the librocksdb.so.8 of the pack lost.",
        find_undefined,
    ),
)  # fmt: skip
