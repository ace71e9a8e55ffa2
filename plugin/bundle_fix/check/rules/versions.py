"""BF401, BF402, BF404 and BF406: symbol versions that a file requires and a library lacks.

Source: glibc's elf/dl-version.c. Before main, the loader looks up every version in DT_VERNEED.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import GLIBC_PRIVATE, find_glibc_baseline, parse_glibc_version
from bundle_fix.check.facts.symbols.drivers import find_driver_loader, map_drivers
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.loader.hosts.libc import LOADER_NAME, Libc, is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity

DRIVER_RUNTIMES = frozenset({"libstdc++.so.6", "libgcc_s.so.1"})
"""Libraries that packs bundle and that drivers, such as Mesa's with LLVM, need as well."""


def find_newer_glibc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that require versions of a glibc newer than the baseline."""
    baseline = find_glibc_baseline(context)
    if baseline is None:
        return
    limit = baseline.version
    for path in context.iter_dynamic_files():
        # BF409 reports libraries of glibc that musl loads.
        if context.get_libc(path) is Libc.MUSL:
            continue
        # The loader only prints a warning if a weak version is missing (match_symbol).
        weak = context.facts.read_weak_versions(path)
        newer = {
            name: [v for v in versions if _is_newer(v, limit) and (name, v) not in weak]
            for name, versions in context.facts.read_needed_versions(path).items()
        }
        newer = {name: versions for name, versions in newer.items() if versions}
        if not newer:
            continue
        undefined = context.facts.read_undefined_symbols(path)
        too_new = [s for s in undefined if s.version in newer.get(s.library or "", ())]
        # The newest version first; sorting is stable, so names of one version stay sorted.
        too_new.sort(key=lambda s: s.name)
        too_new.sort(key=lambda s: parse_glibc_version(s.version or "") or (), reverse=True)
        symbols = [f"{decode_name(s.name)}@{s.version}" for s in too_new]
        newest = max(
            (v for vs in newer.values() for v in vs), key=lambda v: parse_glibc_version(v) or ()
        )
        yield rule.make_finding(
            path,
            f"requires {newest}, newer than {baseline.source}"
            f" ({join_names(symbols) or 'no symbol'})",
            root=Root(RootKind.BASELINE, ".".join(map(str, limit))),
            baseline=".".join(map(str, limit)),
            versions=newer,
            symbols=symbols,
        )


def _is_newer(version: str, limit: tuple[int, ...]) -> bool:
    return (parse_glibc_version(version) or ()) > limit


def find_private_symbols(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that use private symbols of glibc, unless the pack has its own loader."""
    if any(LOADER_NAME.fullmatch(name) for name in context.bundle.paths_by_name):
        return
    for path in context.iter_dynamic_files():
        image = context.bundle.images[path]
        # The parts of glibc use each other's private symbols.
        is_libc = is_part_of_libc(image.soname or posixpath.basename(path))
        if is_libc or not any(map(is_part_of_libc, image.needed)):
            continue
        if not any(GLIBC_PRIVATE in v for v in context.facts.read_needed_versions(path).values()):
            continue
        undefined = context.facts.read_undefined_symbols(path)
        private = [s for s in undefined if s.version == GLIBC_PRIVATE]
        # A weak symbol may be missing: the file looks at its address before it uses it.
        if private and all(symbol.weak for symbol in private):
            continue
        symbols = sorted(decode_name(symbol.name) for symbol in private)
        yield rule.make_finding(
            path,
            f"uses private symbols of glibc: {join_names(symbols) or GLIBC_PRIVATE}",
            severity=_get_private_severity(context, path),
            symbols=symbols,
        )


def _get_private_severity(context: Context, path: str) -> Severity:
    """Return the severity of a file that uses private symbols.

    It is a note on a host whose C library is known: if a symbol is missing there, BF404 or BF405
    reports an error.
    """
    if context.host.files is not None:
        return Severity.NOTE
    return context.get_load_severity(path)


def find_missing_versions(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the versions that an object of the pack requires of a library and the library lacks."""
    for severity, process, need, missing in _find_missing(context, context.resolutions):
        if need.requester.origin is not ObjectOrigin.BUNDLE:
            continue
        requester, result = need.requester, need.result
        if result.origin is ObjectOrigin.BUNDLE:
            path = result.label
            message = f"lacks {join_names(missing)}, required by {requester.label}"
        else:
            path = requester.label
            message = f"requires {join_names(missing)} of {need.name}, which the host's"
            message += f" {result.label} lacks"
        yield _make_version_finding(rule, path, message, severity, process, need, missing)


def find_older_runtime(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the versions that a library of the host requires of a library of the pack."""
    if context.host.files is None:
        yield from _find_runtimes_of_drivers(rule, context)
    opened = [
        # The program itself starts, but it may do without the driver.
        (Severity.WARNING, process, need)
        for process in (*context.programs.values(), *context.plugins.values())
        for driver in map_drivers(context, process)
        for need in driver.resolutions
    ]
    for severity, process, need, missing in _find_missing(context, [*context.resolutions, *opened]):
        if need.requester.origin is ObjectOrigin.HOST and need.result.origin is ObjectOrigin.BUNDLE:
            path = need.result.label
            message = f"lacks {join_names(missing)}, required by the host's {need.requester.label}"
            yield _make_version_finding(rule, path, message, severity, process, need, missing)


def _find_runtimes_of_drivers(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the bundled run-time libraries that drivers of an unknown host need as well."""
    reported: set[str] = set()
    for process in (*context.programs.values(), *context.plugins.values()):
        bundled = [
            o
            for o in process.list_bundled_objects()
            if posixpath.basename(o.name) in DRIVER_RUNTIMES and o.label not in reported
        ]
        opener = find_driver_loader(context, process) if bundled else None
        for loaded in bundled if opener else ():
            reported.add(loaded.label)
            name = opener if isinstance(opener, str) else opener.name if opener else ""
            yield rule.make_finding(
                loaded.label,
                f"is loaded instead of the host's {loaded.name}; drivers that the host's {name}"
                " opens may need a newer one",
                severity=Severity.NOTE,
                hint="Leave it to the host, or start the program with the newer copy of the two.",
                library=loaded.name,
                needed_by=name,
                program=process.entry,
            )


def _make_version_finding(
    rule: Rule, path: str, message: str, severity: Severity, process: Process, need: Resolution,
    missing: list[str],
) -> Finding:  # fmt: skip
    is_host_copy = need.result.origin is ObjectOrigin.HOST
    root = Root(RootKind.HOST_COPY, need.name) if is_host_copy else None
    return rule.make_finding(
        path, message, severity=severity, root=root, versions=missing, library=need.name,
        needed_by=need.requester.label, program=process.entry,
    )  # fmt: skip


def _find_missing(
    context: Context, resolutions: Iterable[tuple[Severity, Process, Resolution]]
) -> Iterator[tuple[Severity, Process, Resolution, list[str]]]:
    """Yield the resolved needed names with the required versions that the library lacks.

    A library without any versions is not an error: the loader only prints a warning (match_symbol).
    musl ignores versions.
    """
    seen: set[tuple[str | None, str, str | None]] = set()
    for severity, process, need in resolutions:
        key = (need.requester.real_path, need.name, need.result.real_path)
        is_known = need.requester.image is not None and need.result.image is not None
        if not is_known or key in seen or context.get_libc(process.entry) is Libc.MUSL:
            continue
        seen.add(key)
        defined = context.facts.read_defined_versions(need.result)
        if defined is None:
            continue
        required = context.facts.read_needed_versions(need.requester).get(need.name, ())
        weak = context.facts.read_weak_versions(need.requester)
        missing = [v for v in required if v not in defined and (need.name, v) not in weak]
        if missing:
            yield severity, process, need, missing


RULES = (
    Rule(
        "BF401", "glibc-too-new", Severity.ERROR,
        "A file requires symbol versions of a glibc newer than the baseline.",
        "On a target with the baseline's glibc, the program fails before main: 'version GLIBC_…"
        " not found'.",
        "Build on a system with the baseline's glibc, or raise the baseline ([check] glibc, --glibc"
        " or the tag of the wheel).",
        "[check] glibc is 2.17, but bin/server requires memcpy@GLIBC_2.34.",
        find_newer_glibc,
    ),
    Rule(
        "BF402", "private-glibc", Severity.ERROR,
        "A file uses private symbols of glibc (GLIBC_PRIVATE).",
        "They change with every release of glibc. On a target with another release, the program"
        " fails before main or crashes.",
        "Remove the file from the pack if it is a part of glibc, or build it without the symbols.",
        "A script copied a helper of libnss_files.so.2, which requires"
        " __nss_database_get@GLIBC_PRIVATE.",
        find_private_symbols,
    ),
    Rule(
        "BF404", "missing-version", Severity.ERROR,
        "A library lacks a symbol version that an object of the pack requires.",
        "The loader ends the program before main: 'version ... not found (required by ...)'.",
        "Add the copy of the library with which the object was linked. If the host's copy lacks the"
        " version, build on a system that is as old as the host.",
        "bin/server requires GLIBCXX_3.4.30, but lib/libstdc++.so.6 is from an older compiler.",
        find_missing_versions,
    ),
    Rule(
        "BF406", "runtime-too-old", Severity.ERROR,
        "A library of the host requires a symbol version that the pack's copy of a library lacks.",
        "All objects of a process use the pack's copy. The loader refuses the host's library, and"
        " the program fails.",
        "Add a newer copy to the pack, or leave the library to the host.",
        "With --host, the host's libGL.so.1 requires GLIBCXX_3.4.32, but the newest version in"
        " lib/libstdc++.so.6 is GLIBCXX_3.4.28.",
        find_older_runtime,
    ),
)  # fmt: skip
