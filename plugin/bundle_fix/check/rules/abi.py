"""BF4xx: what the binaries want of the libraries they meet on the target."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from bundle_fix.check.context import Context
from bundle_fix.check.findings import ERROR, NOTE, WARNING, Finding, Rule
from bundle_fix.elf.properties import isa_needed
from bundle_fix.elf.symbols import wanted_symbols
from bundle_fix.elf.versions import needed_versions
from bundle_fix.loader.libc import belongs_to_libc
from bundle_fix.loader.objects import BUNDLE, HOST
from bundle_fix.loader.process import Need

PRIVATE = "GLIBC_PRIVATE"
SHOWN = 5
"""Symbols that a message names; the evidence has all."""


def glibc_number(version: str) -> tuple[int, ...] | None:
    """``GLIBC_2.17`` as (2, 17); None for other versions, GLIBC_PRIVATE among them."""
    prefix, _, number = version.partition("_")
    parts = number.split(".")
    if prefix != "GLIBC" or not all(part.isdecimal() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def find_newer_glibc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that want symbols of a glibc newer than the baseline."""
    baseline = context.expectations.glibc
    limit = glibc_number(f"GLIBC_{baseline}") if baseline else None
    for path, image in context.bundle.images.items() if limit else ():
        if not image.is_dynamic:
            continue
        with context.bundle.content(path).open() as reader:
            wanted = needed_versions(reader, image)
            newer = {
                name: [v for v in versions if (glibc_number(v) or ()) > (limit or ())]
                for name, versions in wanted.items()
            }
            newer = {name: versions for name, versions in newer.items() if versions}
            if not newer:
                continue
            breaking = [
                s
                for s in wanted_symbols(reader, image)
                if s.version in newer.get(s.library or "", ())
            ]
        breaking.sort(key=lambda s: s.name)
        breaking.sort(key=lambda s: glibc_number(s.version or "") or (), reverse=True)
        symbols = [f"{s.name}@{s.version}" for s in breaking]
        newest = max((v for vs in newer.values() for v in vs), key=lambda v: glibc_number(v) or ())
        yield rule.finding(
            path,
            f"wants {newest}; the baseline is glibc {baseline} ({_some(symbols) or 'no symbol'})",
            baseline=baseline,
            versions=newer,
            symbols=symbols,
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def find_private(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that use what glibc keeps for itself."""
    for path, image in context.bundle.images.items():
        own = belongs_to_libc(image.soname or posixpath.basename(path))
        if not image.is_dynamic or own or not any(map(belongs_to_libc, image.needed)):
            continue
        with context.bundle.content(path).open() as reader:
            wanted = needed_versions(reader, image)
            if not any(PRIVATE in versions for versions in wanted.values()):
                continue
            symbols = sorted(s.name for s in wanted_symbols(reader, image) if s.version == PRIVATE)
        yield rule.finding(
            path,
            f"uses what glibc keeps for itself: {_some(symbols) or PRIVATE}",
            severity=ERROR if path in context.mapped else context.consequence,
            symbols=symbols,
        )


def find_missing_versions(rule: Rule, context: Context) -> Iterator[Finding]:
    """Versions that an object wants of a library of the pack, which lacks them."""
    yield from (
        _version_finding(rule, need, lacking)
        for need, lacking in _lacking(context)
        if need.requester.origin == BUNDLE
    )


def find_older_runtime(rule: Rule, context: Context) -> Iterator[Finding]:
    """Versions that a library of the host wants of a library of the pack, which lacks them."""
    yield from (
        _version_finding(rule, need, lacking)
        for need, lacking in _lacking(context)
        if need.requester.origin == HOST
    )


def _version_finding(rule: Rule, need: Need, lacking: list[str]) -> Finding:
    requester, result = need.requester, need.result
    return rule.finding(
        result.path or result.name,
        f"lacks {_some(lacking)}, which {requester.path or requester.name} wants of {need.name}",
        versions=lacking,
        needed_by=requester.path or requester.name,
    )


def _lacking(context: Context) -> Iterator[tuple[Need, list[str]]]:
    """The needs met by a library of the pack that has versions, but not all that are wanted.

    The loader ends the process over one (glibc's dl-version.c, match_symbol); where the library
    has no versions at all it only complains.
    """
    told: set[tuple[str | None, str, str | None]] = set()
    for process in context.programs.values():
        for need in process.needs:
            key = (need.requester.real, need.name, need.result.real)
            known = need.requester.image is not None and need.result.image is not None
            if not known or need.result.origin != BUNDLE or key in told:
                continue
            told.add(key)
            offered = context.symbols.offered_versions(need.result)
            if offered is None:
                continue
            wanted = context.symbols.wanted_versions(need.requester).get(need.name, ())
            weak = context.symbols.weakly_wanted(need.requester)
            lacking = [v for v in wanted if v not in offered and (need.name, v) not in weak]
            if lacking:
                yield need, lacking


VERSIONED = re.compile(r"lib(stdc\+\+|gcc_s|gomp|atomic|gfortran|quadmath)\.so\.\d+")
"""Libraries of the compiler, which define no C++ names but those of the language itself."""
OWN_NAME = re.compile(r"_Z(?!N?K?St|T[ISV]N?St|n[aw]|d[al]|N10__cxxabiv1|N9__gnu_cxx)")
"""A C++ name that neither the C library nor the compiler's libraries define."""


def find_undefined(rule: Rule, context: Context) -> Iterator[Finding]:
    """Symbols that no object of a process defines, where all objects that could are known."""
    told: set[tuple[str, str]] = set()
    for process in context.programs.values():
        unknown = [m.name for m in process.objects if m.image is None]
        if not all(belongs_to_libc(name) or VERSIONED.fullmatch(name) for name in unknown):
            continue
        defined: set[str] = set()
        for mapped in process.objects:
            if mapped.image is not None:
                defined |= context.symbols.defined(mapped)
        for mapped in process.bundled():
            lost = sorted(
                symbol.name
                for symbol in context.symbols.wanted(mapped)
                if not symbol.weak
                and symbol.name not in defined
                and (mapped.label, symbol.name) not in told
                and (not unknown or (symbol.library is None and OWN_NAME.match(symbol.name)))
            )
            told |= {(mapped.label, name) for name in lost}
            if lost:
                yield rule.finding(
                    mapped.label,
                    f"uses {_some(lost)}, which nothing in the process of {process.entry} defines",
                    symbols=lost,
                    program=process.entry,
                )


def find_other_machine(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries for a machine that no program of the pack is for."""
    images = context.bundle.images
    programs = {images[path].architecture: path for path in context.programs}
    if not programs:
        return
    names = ", ".join(
        sorted({f"{images[p].format.bits}-bit {images[p].machine}" for p in programs.values()})
    )
    wanted = {name for path in context.programs for name in images[path].needed}
    for path in context.libraries:
        image = images[path]
        if image.architecture in programs:
            continue
        is_wanted = bool({image.soname, posixpath.basename(path)} & wanted)
        yield rule.finding(
            path,
            f"is for {image.format.bits}-bit {image.machine}; the programs are for {names}",
            severity=WARNING if is_wanted else NOTE,
            machine=image.machine,
        )


def find_level(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files marked for a processor newer than every x86-64."""
    for path, image in context.bundle.images.items():
        if image.machine != "x86_64" or "glibc-hwcaps" in path or not image.is_dynamic:
            continue
        with context.bundle.content(path).open() as reader:
            level = isa_needed(reader, image)
        if level > 1:
            yield rule.finding(
                path,
                f"is marked as needing x86-64-v{level}",
                severity=WARNING if path in context.mapped else NOTE,
                level=f"x86-64-v{level}",
            )


def newest_versions(context: Context) -> Mapping[str, tuple[str, str]]:
    """The newest version that the pack wants of each family, and a file that wants it.

    Families are the first words of versions: ``GLIBC``, ``GLIBCXX``, ``CXXABI``, ``GCC``.
    """
    found: dict[str, tuple[tuple[int, ...], str, str]] = {}
    for path, image in context.bundle.images.items():
        if not image.is_dynamic:
            continue
        with context.bundle.content(path).open() as reader:
            wanted = needed_versions(reader, image)
        for version in (v for versions in wanted.values() for v in versions):
            match = FAMILY.fullmatch(version)
            if match:
                number = tuple(int(part) for part in match[2].split("."))
                known = found.get(match[1])
                if known is None or number > known[0]:
                    found[match[1]] = (number, match[2], path)
    return {family: (text, path) for family, (_, text, path) in sorted(found.items())}


FAMILY = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d+(?:\.\d+)*)")

RULES = (
    Rule(
        "BF401", "glibc-too-new", ERROR,
        "A file wants symbol versions of a glibc newer than the baseline.",
        "On a target with the baseline's glibc the program ends before main: 'version GLIBC_…"
        " not found'.",
        "Build on a system with the baseline's glibc, or raise [check] glibc.",
        "[check] glibc is 2.17, and bin/server wants memcpy@GLIBC_2.34.",
        find_newer_glibc,
    ),
    Rule(
        "BF402", "private-glibc", ERROR,
        "A file uses symbols that glibc keeps for itself (GLIBC_PRIVATE).",
        "They change with every release of glibc: on a target with another one the program ends"
        " before main, or crashes.",
        "Leave the file to the host if it is a part of glibc, or build it without them.",
        "A script copied libnss_files.so.2's helper, which wants __nss_database_get@GLIBC_PRIVATE.",
        find_private,
    ),
    Rule(
        "BF404", "missing-version", ERROR,
        "A library of the pack lacks a symbol version that an object of the pack wants of it.",
        "The loader ends the program before main: 'version ... not found (required by ...)'.",
        "Put the copy into the pack that the object was linked with.",
        "bin/server wants GLIBCXX_3.4.30, and lib/libstdc++.so.6 comes from an older compiler.",
        find_missing_versions,
    ),
    Rule(
        "BF405", "undefined-symbol", WARNING,
        "An object uses a symbol that nothing in the process defines.",
        "The loader ends the program when it starts, or at the first call: 'undefined symbol'.",
        "Link the library that defines it, or put the copy into the pack that does.",
        "lib/libreplica.so uses rocksdb::DB::Open, which the librocksdb.so.8 of the pack lost.",
        find_undefined,
    ),
    Rule(
        "BF406", "runtime-too-old", ERROR,
        "A library of the host wants a symbol version that the pack's copy of a library lacks.",
        "The pack's copy is loaded for all: the host's library cannot be, and what needs it ends.",
        "Bundle a newer copy, or leave the library to the host.",
        "With --host, the host's libGL.so.1 wants GLIBCXX_3.4.32, and lib/libstdc++.so.6 stops at"
        " GLIBCXX_3.4.28.",
        find_older_runtime,
    ),
    Rule(
        "BF407", "other-machine", NOTE,
        "A library is for a machine that no program of the pack is for.",
        "The loader passes it over, and goes on to the host.",
        "Put the copy for the programs' machine into the pack, or leave it out.",
        "lib/libcrypto.so.3 was found in /usr/lib/i386-linux-gnu.",
        find_other_machine,
    ),
    Rule(
        "BF408", "processor-level", WARNING,
        "A file is marked as needing a newer processor than every x86-64.",
        "On an older one the loader refuses it: 'CPU ISA level is lower than required'.",
        "Build it without -march, or say on which processors the pack runs.",
        "lib/libcodec.so was built with -march=haswell -mneeded: it needs x86-64-v3.",
        find_level,
    ),
)  # fmt: skip
