"""BF409: objects that were linked with another C library than the process that loads them.

Sources: musl's ldso/dynlink.c: load_library gives itself for libc.so.6 and some other names of
glibc's libraries; relocations ignore symbol versions, and the first missing symbol ends the
program. glibc has no names of musl.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import is_name_of_other_libc
from bundle_fix.check.facts.symbols.musl import find_musl_symbols
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc
from bundle_fix.loader.hosts.rtld import LinkedLibc, find_linked_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.policy.severity import Severity

GCOMPAT = "libgcompat.so"
"""Beginning of the name of the library with which Alpine's gcompat provides symbols of glibc."""


def find_mixed_libcs(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects that were linked with another C library than their process."""
    reported: set[str] = set()
    for entry, process in (*context.programs.items(), *context.plugins.items()):
        libc = context.get_libc(entry)
        for loaded in process.list_bundled_objects():
            linked = find_linked_libc(loaded.image) if loaded.image else None
            if linked is None or linked.libc is libc or loaded.label in reported:
                continue
            reported.add(loaded.label)
            yield _make_libc_finding(rule, context, process, loaded, linked)
    yield from _find_plugins_of_no_program(rule, context, reported)


def _make_libc_finding(
    rule: Rule, context: Context, process: Process, loaded: LoadedObject, linked: LinkedLibc
) -> Finding:
    libc, entry = context.get_libc(process.entry), process.entry
    names = [
        need.name
        for need in process.resolutions
        if need.requester is loaded
        and need.result.origin is ObjectOrigin.MISSING
        and is_name_of_other_libc(need, libc)
    ]
    symbols = _list_missing_symbols(context, process, loaded) if libc is Libc.MUSL else []
    message = f"was linked with {linked.libc.value} (it needs {linked.name}), but "
    if entry in context.programs:
        message += f"{entry}, which loads it, was linked with {libc.value}"
    else:
        message += f"{libc.value} loads it{_describe_reason(context)}"
    lacking = [*names, *symbols]
    if lacking:
        message += f"; {libc.value} lacks {join_names(lacking)}"
    elif libc is Libc.MUSL:
        message += "; musl has the symbols that it uses, but not all types are the same"
    severity = Severity.ERROR
    if entry not in context.programs:
        severity = context.get_load_severity(entry)
    is_loaded = not lacking and libc is Libc.MUSL
    return rule.make_finding(
        loaded.label,
        message,
        severity=Severity.WARNING if is_loaded else severity,
        needed=linked.name,
        program=entry,
        lacking=lacking,
    )


def _describe_reason(context: Context) -> str:
    """Return why the libraries of a pack without programs have the loader that they have."""
    if context.bundle.libc_of_tags is not None:
        return " according to the tag of the wheel"
    return " as the only loader of the host" if context.host.files is not None else ""


def _list_missing_symbols(context: Context, process: Process, user: LoadedObject) -> list[str]:
    """Return the symbols of glibc that an object uses and no object of a musl process defines."""
    if any(posixpath.basename(o.name).startswith(GCOMPAT) and not o.image for o in process.objects):
        return []
    symbols = [
        symbol
        for symbol in context.facts.read_undefined_symbols(user)
        if not symbol.weak and symbol.library and is_part_of_libc(symbol.library)
    ]
    known = find_musl_symbols(context.facts, process, symbols)
    return sorted({decode_name(s.name) for s in symbols if s.name not in known})


def _find_plugins_of_no_program(
    rule: Rule, context: Context, reported: set[str]
) -> Iterator[Finding]:
    """Yield the plugins that no program of the pack can load, as all have another C library."""
    images = context.bundle.images
    libcs: dict[object, set[Libc]] = {}
    for entry in context.programs:
        libcs.setdefault(images[entry].architecture, set()).add(context.get_libc(entry))
    for plugin in context.plugins:
        linked, others = find_linked_libc(images[plugin]), libcs.get(images[plugin].architecture)
        if linked is None or not others or linked.libc in others or plugin in reported:
            continue
        is_opened = bool(context.openers.find_by_name(plugin))
        yield rule.make_finding(
            plugin,
            f"was linked with {linked.libc.value} (it needs {linked.name}), but the programs of the"
            f" pack were linked with {next(iter(others)).value}",
            severity=context.get_load_severity(plugin) if is_opened else Severity.NOTE,
            needed=linked.name,
            program=next(iter(context.programs)),
            lacking=[],
        )


RULES = (
    Rule(
        "BF409", "two-c-libraries", Severity.ERROR,
        "A library was linked with another C library than the program that loads it.",
        "glibc does not find musl's library. musl takes the place of libc.so.6, libpthread.so.0 and"
        " the like and ignores symbol versions, but lacks other libraries of glibc and many of its"
        " symbols: 'symbol not found'. The program fails before main.",
        "Replace the library with a copy that was built for the program's C library.",
        "lib/libfast.so.1 comes from an Alpine container and needs libc.musl-x86_64.so.1, but"
        " bin/server needs libc.so.6.",
        find_mixed_libcs,
    ),
)  # fmt: skip
