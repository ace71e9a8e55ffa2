"""BF405: symbols that no object of a process defines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.file_facts import FileFacts
from bundle_fix.check.facts.symbols.musl import find_musl_symbols, is_musl
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol
from bundle_fix.loader.hosts.libc import (
    MUSL_LIBC_NAME,
    Libc,
    is_part_of_libc,
    read_glibc_exports,
)
from bundle_fix.loader.hosts.rtld import find_linked_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.policy.severity import Severity

COMPILER_LIBRARIES = re.compile(r"lib(stdc\+\+|gcc_s|atomic)\.so\.\d+")
"""Libraries of the compiler; all of their symbols have versions, like those of glibc."""
FOREIGN_CPP_NAME = re.compile(
    rb"_Z(?!N?K?S[abdiost]|T[ISV]N?S|n[aw]|d[al]|N10__cxxabiv1|N9__gnu_cxx)"
)
"""A mangled C++ name that the C library and the compiler's libraries do not define.

These define names in ``std`` (``St``, ``Sa``, ``Ss``, ...), ``__cxxabiv1`` and ``__gnu_cxx``, and
``operator new`` and ``delete`` (Itanium C++ ABI, 5.1).
"""


def find_undefined_symbols(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the symbols that certainly no object of a process defines.

    If a symbol has a version of a library whose file is known, that library must define it. Any
    other symbol is only reported if all objects that could define it are known; in a plugin it may
    be defined by the program that opens it.
    """
    reported: set[tuple[str, bytes]] = set()
    complete: dict[tuple[str, bool], frozenset[str]] = {}
    for severity, process in _iter_processes(context):
        if context.get_libc(process.entry) is Libc.MUSL:
            yield from _find_undefined_with_musl(rule, context, process, reported)
            continue
        unknown = [loaded for loaded in process.objects if loaded.image is None]
        is_closed = process.entry in context.programs and not any(
            loaded.origin is ObjectOrigin.MISSING or not has_only_versions(loaded.name)
            for loaded in unknown
        )
        labels = {loaded.label for loaded in process.objects}
        known_names = _list_known_names(process)
        for loaded in process.list_bundled_objects():
            # The objects that define all of its symbols in another process are here as well.
            if complete.get((loaded.label, is_closed), frozenset({""})) <= labels:
                continue
            needed_versions = context.facts.read_needed_versions(loaded)
            if not is_closed and known_names.isdisjoint(needed_versions):
                continue
            undefined = context.facts.read_undefined_symbols(loaded)
            symbols = [symbol for symbol in undefined if not symbol.weak]
            if not is_closed:
                symbols = [symbol for symbol in symbols if symbol.library in known_names]
            missing, used = _find_missing_symbols(context.facts, process, loaded, symbols, unknown)
            if not missing:
                complete[loaded.label, is_closed] = used
            new = [symbol for symbol in missing if (loaded.label, symbol.name) not in reported]
            reported |= {(loaded.label, symbol.name) for symbol in missing}
            if new:
                yield _make_symbol_finding(rule, process, loaded, new, severity)


def _find_undefined_with_musl(
    rule: Rule, context: Context, process: Process, reported: set[tuple[str, bytes]]
) -> Iterator[Finding]:
    """Yield the symbols that no object of a musl process defines, if all objects are known.

    BF409 reports the symbols of glibc. Those of a plugin may be defined by what opens it.
    """
    others = [loaded for loaded in process.objects if loaded.image is None and not is_musl(loaded)]
    if others or process.entry not in context.programs:
        return
    for loaded in process.list_bundled_objects():
        linked = find_linked_libc(loaded.image) if loaded.image else None
        symbols = [
            symbol
            for symbol in context.facts.read_undefined_symbols(loaded)
            if not symbol.weak and (loaded.label, symbol.name) not in reported
        ]
        if linked is not None and linked.libc is Libc.GLIBC:
            symbols = [s for s in symbols if not is_part_of_libc(s.library or "")]
        known = find_musl_symbols(context.facts, process, symbols)
        new = [symbol for symbol in symbols if symbol.name not in known]
        reported |= {(loaded.label, symbol.name) for symbol in new}
        if new:
            yield _make_symbol_finding(rule, process, loaded, new, Severity.ERROR)


def _iter_processes(context: Context) -> Iterator[tuple[Severity, Process]]:
    """Yield the processes of programs, then of plugins, with the severity of a failure."""
    yield from ((Severity.ERROR, process) for process in context.programs.values())
    yield from (
        (context.get_load_severity(path), process) for path, process in context.plugins.items()
    )


def _list_known_names(process: Process) -> frozenset[str]:
    """Return the names and sonames of the objects of a process whose files are known."""
    known = [loaded for loaded in process.objects if loaded.image is not None]
    sonames = [loaded.image.soname for loaded in known if loaded.image and loaded.image.soname]
    return frozenset([*(loaded.name for loaded in known), *sonames])


def has_only_versions(name: str) -> bool:
    """Return whether all symbols of a library have versions in every build of it."""
    is_glibc = is_part_of_libc(name) and not MUSL_LIBC_NAME.fullmatch(name)
    return is_glibc or COMPILER_LIBRARIES.fullmatch(name) is not None


def _find_missing_symbols(
    facts: FileFacts,
    process: Process,
    user: LoadedObject,
    symbols: Sequence[UndefinedSymbol],
    unknown: Sequence[LoadedObject],
) -> tuple[list[UndefinedSymbol], frozenset[str]]:
    """Return the symbols that no object defines, and the labels of the objects that define others.

    Args:
        facts: the facts about the files.
        process: the process.
        user: the object that uses the symbols.
        symbols: the symbols.
        unknown: the objects of the process whose files are not known.
    """
    unknown_names = {loaded.name for loaded in unknown}
    missing = [symbol for symbol in symbols if symbol.library not in unknown_names]
    used = {loaded.label for loaded in unknown}
    for provider in process.objects:
        if not missing:
            break
        if provider.image is not None and provider.image.is_dynamic:
            table = facts.read_exports(provider)
            rest = [s for s in missing if not table.provides_symbol(s.name, s.version)]
            if len(rest) < len(missing):
                used.add(provider.label)
            missing = rest
    if missing:
        may_define = make_unknown_lookup(facts, user, unknown)
        missing = [
            symbol
            for symbol in missing
            if not may_define(symbol) and not _lacks_whole_version(facts, process, symbol)
        ]
    return missing, frozenset(used)


def _lacks_whole_version(facts: FileFacts, process: Process, symbol: UndefinedSymbol) -> bool:
    """Return whether the library of a symbol lacks its version, which BF404 reports."""
    library = _find_object(process, symbol.library)
    if library is None or library.image is None:
        return False
    defined = facts.read_defined_versions(library)
    return defined is not None and symbol.version not in defined


def _find_object(process: Process, name: str | None) -> LoadedObject | None:
    """Return the object of a process with the name or soname ``name``."""
    for loaded in process.objects if name else ():
        if name == loaded.name or (loaded.image is not None and name == loaded.image.soname):
            return loaded
    return None


def make_unknown_lookup(
    facts: FileFacts, user: LoadedObject, unknown: Sequence[LoadedObject]
) -> Callable[[UndefinedSymbol], bool]:
    """Return a function that returns whether one of the unknown objects may define a symbol.

    The linker records a version for every symbol that it finds in a library with versions. If
    ``user`` requires versions of a library, its symbols without a version are not from there.
    """
    versions = facts.read_needed_versions(user)
    candidates = [loaded for loaded in unknown if loaded.name not in versions]
    has_libc = any(is_part_of_libc(loaded.name) for loaded in candidates)
    exports = read_glibc_exports() if has_libc else frozenset[bytes]()

    def may_define(symbol: UndefinedSymbol) -> bool:
        has_version = symbol.library is not None
        if not candidates or has_version or FOREIGN_CPP_NAME.match(symbol.name):
            return False
        return symbol.name.startswith(b"_") or symbol.name in exports

    return may_define


def _make_symbol_finding(
    rule: Rule,
    process: Process,
    user: LoadedObject,
    missing: Sequence[UndefinedSymbol],
    severity: Severity,
) -> Finding:
    names = sorted(map(_format_symbol, missing))
    place = "" if user.label == process.entry else f" in the process of {process.entry}"
    return rule.make_finding(
        user.label,
        f"uses {join_names(names)}, which no object{place} defines",
        severity=severity,
        symbols=names,
        program=process.entry,
        searched=[loaded.label for loaded in process.objects],
    )


def _format_symbol(symbol: UndefinedSymbol) -> str:
    name = decode_name(symbol.name)
    return f"{name}@{symbol.version}" if symbol.version else name


RULES = (
    Rule(
        "BF405", "undefined-symbol", Severity.ERROR,
        "An object uses a symbol that no object of the process defines.",
        "The loader ends the program at its start or at the first call: 'undefined symbol'.",
        "Link the object with the library that defines the symbol, or add the right copy of the"
        " library to the pack.",
        "lib/libreplica.so uses rocksdb::DB::Open, which the pack's librocksdb.so.8 no longer"
        " defines.",
        find_undefined_symbols,
    ),
)  # fmt: skip
