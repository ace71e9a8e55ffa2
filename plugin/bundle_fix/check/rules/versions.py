"""BF4xx: versions of symbols that are wanted and not there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import GLIBC_PRIVATE, parse_glibc_version
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.loader.hosts.libc import LOADER_NAME, is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity

LIBC = "libc.so.6"


def find_newer_glibc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that want symbols of a glibc newer than the baseline."""
    baseline = context.policy.glibc
    limit = parse_glibc_version(f"GLIBC_{baseline}")
    for path in context.iter_dynamic_files() if limit else ():
        # The loader only complains about a version that is wanted weakly.
        weak = context.facts.read_weak_versions(path)
        newer = {
            name: [v for v in versions if _is_newer(v, limit) and (name, v) not in weak]
            for name, versions in context.facts.read_needed_versions(path).items()
        }
        newer = {name: versions for name, versions in newer.items() if versions}
        if not newer:
            continue
        wanted = context.facts.read_symbol_table(path).undefined
        breaking = [s for s in wanted if s.version in newer.get(s.library or "", ())]
        breaking.sort(key=lambda s: s.name)
        breaking.sort(key=lambda s: parse_glibc_version(s.version or "") or (), reverse=True)
        symbols = [f"{decode_name(s.name)}@{s.version}" for s in breaking]
        newest = max(
            (v for vs in newer.values() for v in vs), key=lambda v: parse_glibc_version(v) or ()
        )
        yield rule.make_finding(
            path,
            f"requires {newest}, newer than the baseline glibc {baseline}"
            f" ({join_names(symbols) or 'no symbol'})",
            baseline=baseline,
            versions=newer,
            symbols=symbols,
        )


def _is_newer(version: str, limit: tuple[int, ...] | None) -> bool:
    return (parse_glibc_version(version) or ()) > (limit or ())


def find_private(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that use what glibc keeps for itself, where the pack does not bring glibc as well."""
    if any(LOADER_NAME.fullmatch(name) for name in context.bundle.paths_by_name):
        return
    for path in context.iter_dynamic_files():
        image = context.bundle.images[path]
        own = is_part_of_libc(image.soname or posixpath.basename(path))
        if own or not any(map(is_part_of_libc, image.needed)):
            continue
        if not any(GLIBC_PRIVATE in v for v in context.facts.read_needed_versions(path).values()):
            continue
        wanted = context.facts.read_symbol_table(path).undefined
        symbols = sorted(decode_name(s.name) for s in wanted if s.version == GLIBC_PRIVATE)
        yield rule.make_finding(
            path,
            f"uses what glibc keeps for itself: {join_names(symbols) or GLIBC_PRIVATE}",
            severity=_severity_of_private(context, path),
            symbols=symbols,
        )


def _severity_of_private(context: Context, path: str) -> Severity:
    """On a host whose C library is known it works or BF404 and BF405 say so: a note is enough."""
    if context.host.files is not None:
        return Severity.NOTE
    return Severity.ERROR if path in context.loaded_at_start else context.plugin_severity


def find_missing_versions(rule: Rule, context: Context) -> Iterator[Finding]:
    """Versions that an object of the pack wants of a library that lacks them."""
    for severity, process, need, lacking in _lacking(context):
        if need.requester.origin is not ObjectOrigin.BUNDLE:
            continue
        requester, result = need.requester, need.result
        if result.origin is ObjectOrigin.BUNDLE:
            path, wanted_by = result.label, f"{requester.label} wants of {need.name}"
            message = f"lacks {join_names(lacking)}, which {wanted_by}"
        else:
            path, message = requester.label, f"wants {join_names(lacking)} of {need.name}"
            message += f", which the host's {result.label} lacks"
        yield _version_finding(rule, path, message, severity, process, need, lacking)


def find_older_runtime(rule: Rule, context: Context) -> Iterator[Finding]:
    """Versions that a library of the host wants of a library of the pack, which lacks them."""
    for severity, process, need, lacking in _lacking(context):
        if need.requester.origin is ObjectOrigin.HOST and need.result.origin is ObjectOrigin.BUNDLE:
            message = (
                f"lacks {join_names(lacking)}, which the host's {need.requester.label} wants of"
            )
            message += f" {need.name}"
            path = need.result.label
            yield _version_finding(rule, path, message, severity, process, need, lacking)


def _version_finding(
    rule: Rule, path: str, message: str, severity: Severity, process: Process, need: Resolution,
    lacking: list[str],
) -> Finding:  # fmt: skip
    return rule.make_finding(
        path, message, severity=severity, versions=lacking, library=need.name,
        needed_by=need.requester.label, program=process.entry,
    )  # fmt: skip


def _lacking(context: Context) -> Iterator[tuple[Severity, Process, Resolution, list[str]]]:
    """The needs met by a library that has versions, but not all that are wanted.

    The loader ends the process over one (glibc's dl-version.c, match_symbol); where the library
    has no versions at all it only complains.
    """
    told: set[tuple[str | None, str, str | None]] = set()
    for severity, process, need in context.resolutions:
        key = (need.requester.real_path, need.name, need.result.real_path)
        known = need.requester.image is not None and need.result.image is not None
        if not known or key in told:
            continue
        told.add(key)
        offered = context.facts.read_defined_versions(need.result)
        if offered is None:
            continue
        wanted = context.facts.read_needed_versions(need.requester).get(need.name, ())
        weak = context.facts.read_weak_versions(need.requester)
        lacking = [v for v in wanted if v not in offered and (need.name, v) not in weak]
        if lacking:
            yield severity, process, need, lacking


RULES = (
    Rule(
        "BF401", "glibc-too-new", Severity.ERROR,
        "A file wants symbol versions of a glibc newer than the baseline.",
        "On a target with the baseline's glibc the program ends before main: 'version GLIBC_…"
        " not found'.",
        "Build on a system with the baseline's glibc, or raise [check] glibc.",
        "[check] glibc is 2.17, and bin/server wants memcpy@GLIBC_2.34.",
        find_newer_glibc,
    ),
    Rule(
        "BF402", "private-glibc", Severity.ERROR,
        "A file uses symbols that glibc keeps for itself (GLIBC_PRIVATE).",
        "They change with every release of glibc: on a target with another one the program ends"
        " before main, or crashes.",
        "Leave the file to the host if it is a part of glibc, or build it without them.",
        "A script copied libnss_files.so.2's helper, which wants __nss_database_get@GLIBC_PRIVATE.",
        find_private,
    ),
    Rule(
        "BF404", "missing-version", Severity.ERROR,
        "A library lacks a symbol version that an object of the pack wants of it.",
        "The loader ends the program before main: 'version ... not found (required by ...)'.",
        "Put the copy into the pack that the object was linked with; where the host's lacks it,"
        " build on a system as old as the host.",
        "bin/server wants GLIBCXX_3.4.30, and lib/libstdc++.so.6 comes from an older compiler.",
        find_missing_versions,
    ),
    Rule(
        "BF406", "runtime-too-old", Severity.ERROR,
        "A library of the host wants a symbol version that the pack's copy of a library lacks.",
        "The pack's copy is loaded for all: the host's library cannot be, and what needs it ends.",
        "Bundle a newer copy, or leave the library to the host.",
        "With --host, the host's libGL.so.1 wants GLIBCXX_3.4.32, and lib/libstdc++.so.6 stops at"
        " GLIBCXX_3.4.28.",
        find_older_runtime,
    ),
)  # fmt: skip
