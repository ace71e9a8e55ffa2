"""BF1xx: which file each needed name leads to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import chain
from typing import Any

from bundle_fix.check.context import Context
from bundle_fix.check.facts.package_dependencies import find_packages_of_library
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.loader.hosts.libc import LOADER_NAME, is_part_of_libc
from bundle_fix.loader.objects import BUNDLE, HOST, MISSING, Outcome, SearchStep
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.model.tree import resolve_path
from bundle_fix.policy.severity import Severity


def trace_evidence(trace: tuple[SearchStep, ...]) -> list[dict[str, str]]:
    """A search trace as JSON holds it."""
    return [
        {
            "place": s.place,
            "via": s.via,
            "entry": s.entry,
            "verdict": s.verdict,
            "outcome": s.outcome.value,
        }
        | ({"owner": s.owner} if s.owner else {})
        | ({"detail": s.detail} if s.detail else {})
        for s in trace
    ]


def worst_needs(
    context: Context, origin: str
) -> dict[tuple[str, str], tuple[Severity, Resolution, list[Process]]]:
    """Needs with ``origin``: by requester and name, the worst severity and the processes."""
    found: dict[tuple[str, str], tuple[Severity, Resolution, list[Process]]] = {}
    for severity, process, need in context.resolutions:
        if need.result.origin != origin or need.requester.path is None:
            continue
        key = (need.requester.path, need.name)
        known = found.setdefault(key, (severity, need, []))
        known[2].append(process)
        if severity.rank < known[0].rank:
            found[key] = (severity, need, known[2])
    return found


def _evidence(need: Resolution, processes: list[Process]) -> dict[str, Any]:
    return {
        "needed": need.name,
        "needed_by": need.requester.path,
        "programs": sorted({process.entry for process in processes}),
        "chain": [link.path or link.name for link in need.requester.walk_load_chain()][::-1],
        "trace": trace_evidence(need.result.trace),
    }


def find_missing(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that neither the pack nor the host's list has."""
    for (path, name), (severity, need, processes) in worst_needs(context, MISSING).items():
        image = need.requester.image
        provided = context.bundle.find_providers(posixpath.basename(name), image) if image else ()
        is_mild = False
        if image is not None and name == image.interpreter:
            message = f"wants the interpreter {name}, which the host does not have"
            hint = "Run it on a host of its own machine and C library."
        elif provided:
            message = f"needs {name}; the pack has {_where(context, provided, name)}, but no folder"
            message += " that is searched leads there"
            hint = BY_PATH if "/" in name else LEAD_THERE
            is_mild = severity == Severity.WARNING and _opened_before(context, provided, name)
        elif packages := " or ".join(_holders(context, need)[:3]):
            message = f"needs {name}, which is left to {packages}: its search path leads there"
            hint = f"See that {packages} has {name}, or put it into the pack."
            is_mild = True
        else:
            message = f"needs {name}, which is neither in the pack nor expected on the host"
            message += _nearest(context, need)
            hint = f"Put {name} into the pack, or say --host-provides {name}."
        worst = Severity.NOTE if is_mild else severity
        yield rule.make_finding(
            path, message, severity=worst, hint=hint, **_evidence(need, processes)
        )


def _holders(context: Context, need: Resolution) -> list[str]:
    """Packages installed beside this one that may have a name, as a search path leads there."""
    listed = [step for step in need.result.trace if step.via in ("rpath", "runpath")]
    entries = [step.entry for step in listed if step.outcome is not Outcome.NOT_THERE]
    return (
        find_packages_of_library(need.name, entries, context.package_dependencies)
        if entries
        else []
    )


def _nearest(context: Context, need: Resolution) -> str:
    """What the pack has that may have been meant: of another machine, or of another version."""
    named = context.bundle.paths_by_name
    for path in named.get(need.name, ()):
        image = context.bundle.images[path]
        return f" ({path} is {image.format.bits}-bit {image.machine})"
    close = context.names_by_stem.get(need.name.partition(".so")[0], ())
    return f" (the pack has {', '.join(sorted(close))})" if close else ""


def find_host_wins(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that the pack provides and the host's loader finds elsewhere."""
    for (path, name), (severity, need, processes) in worst_needs(context, HOST).items():
        if need.requester.image is None or is_part_of_libc(posixpath.basename(name)):
            continue
        # What the host's own libraries need is the host's; LD_LIBRARY_PATH has a rule of its own.
        if need.requester.origin == HOST or need.result.via == "ld_library_path":
            continue
        provided = context.bundle.find_providers(posixpath.basename(name), need.requester.image)
        if not provided:
            continue
        lenient = severity == Severity.WARNING and _opened_before(context, provided, name)
        yield rule.make_finding(
            path,
            f"needs {name}; the pack has {_where(context, provided, name)}, but the host's"
            f" {need.result.path} is loaded",
            severity=Severity.NOTE if lenient else severity,
            hint=_lead(need),
            provided=list(provided),
            loaded=need.result.path,
            **_evidence(need, processes),
        )


def _lead(need: Resolution) -> str | None:
    """How to mend it, where that is neither a link nor a RUNPATH."""
    if any(step.outcome is Outcome.SECURE_EXECUTION for step in need.result.trace):
        return PRIVILEGED
    return BY_PATH if "/" in need.name else None


def _opened_before(context: Context, provided: tuple[str, ...], name: str) -> bool:
    """Whether the provider itself is there under its name and only ever opened at run time.

    A JDK's launcher opens libjvm.so by its path; the libraries that need it come later and find it
    loaded.
    """
    return all(
        path not in context.loaded_at_start and posixpath.basename(path) == name
        for path in provided
    )


def _where(context: Context, provided: tuple[str, ...], name: str) -> str:
    """Where the pack has a library under the name that is needed, or else under another."""
    tree, wanted = context.bundle.tree, posixpath.basename(name)
    files = (path for path in provided if posixpath.basename(path) == wanted)
    links = (
        path
        for path, _ in tree.iter_symlinks()
        if posixpath.basename(path) == wanted and resolve_path(tree, path) in provided
    )
    there = next(chain(files, links), None)
    return there or f"it under another name ({provided[0]})"


def find_two_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Sonames that two different files of one architecture have, where something needs them."""
    bundle = context.bundle
    needed = {name for image in bundle.images.values() for name in image.needed}
    by_soname: dict[tuple[object, str], list[str]] = {}
    for path in bundle.list_libraries():
        image = bundle.images[path]
        if image.soname and image.soname in needed and "glibc-hwcaps" not in path:
            by_soname.setdefault((image.architecture, image.soname), []).append(path)
    for (_, soname), paths in by_soname.items():
        first, *others = paths
        differing = [other for other in others if not bundle.have_same_bytes(first, other)]
        if differing:
            yield rule.make_finding(
                first,
                f"has the soname {soname}, and so has the different file {', '.join(differing)}",
                soname=soname,
                files=paths,
            )


def find_left_to_host(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries that are not the C library's, are not in the pack, and that most hosts have."""
    users: dict[str, list[str]] = {}
    for (path, name), (_, need, _) in worst_needs(context, HOST).items():
        image = need.requester.image
        if image is None or need.result.via == "direct" or context.is_on_host(name):
            continue
        if not context.bundle.find_providers(name, image):
            users.setdefault(name, []).append(path)
    for name, paths in users.items():
        yield rule.make_finding(
            paths[0],
            f"needs {name}, which is left to the host",
            hint=f"Bundle {name}, or say --host-provides {name}.",
            needed=name,
            needed_by=paths,
        )


def find_own_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Parts of the C library that are mapped from the pack, beneath the host's own loader."""
    users: dict[str, list[tuple[Severity, Resolution, Process]]] = {}
    for severity, process, need in context.resolutions:
        if need.result.origin == BUNDLE and is_part_of_libc(posixpath.basename(need.name)):
            users.setdefault(need.result.path or "", []).append((severity, need, process))
    brings_loader = any(LOADER_NAME.fullmatch(name) for name in context.bundle.paths_by_name)
    for path, uses in users.items():
        severity = min((severity for severity, _, _ in uses), key=lambda severity: severity.rank)
        _, need, _ = uses[0]
        yield rule.make_finding(
            path,
            f"is loaded in the place of the host's {need.name}, by {need.requester.path}",
            severity=Severity.WARNING if brings_loader else severity,
            **_evidence(need, [process for _, _, process in uses]),
        )


LEAD_THERE = (
    "Add the link or the RUNPATH that leads to the pack's own copy; 'bundle-fix fix' does so where"
    " it can."
)
BY_PATH = (
    "A name with a slash is a path and is never searched for: let it be needed by its soname"
    " ('bundle-fix elf --replace-needed'); 'bundle-fix fix' does so where it can."
)
PRIVILEGED = (
    "Clear the set-uid or set-gid bit: with it the loader ignores $ORIGIN. Or install the program"
    " in a fixed place, with an absolute RUNPATH that only root can write to."
)

RULES = (
    Rule(
        "BF101", "not-found", Severity.ERROR,
        "A needed name is neither in the pack nor expected on the host.",
        "The loader ends the program before main, or dlopen() fails: 'cannot open shared object"
        " file'.",
        "Put the library into the pack, or declare that the host provides it.",
        "bin/server needs libboost_regex.so.1.74.0; nobody copied it, and no distribution "
        "promises it.",
        find_missing,
        has_diff_rule=True,
    ),
    Rule(
        "BF102", "host-wins", Severity.ERROR,
        "The pack provides a needed name, but the host's copy is loaded.",
        "The program runs with a library that it was not built for; two copies of one allocator"
        " end in free().",
        LEAD_THERE,
        "bin/server needs libtcmalloc.so.4; the pack has the file as libtcmalloc.so, and "
        "the older libtcmalloc.so.4 in /lib64 is loaded.",
        find_host_wins,
        has_diff_rule=True,
    ),
    Rule(
        "BF106", "two-files-one-soname", Severity.NOTE,
        "Two different files have one soname, and something needs it.",
        "Which of them a process gets depends on search order and on what was loaded before.",
        "Keep one of them.",
        "lib/libssl.so.3 and lib/compat/libssl.so.3 differ, and bin/server needs "
        "libssl.so.3.",
        find_two_files,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF110", "left-to-host", Severity.NOTE,
        "A library that most hosts have, but not all, is left to the host.",
        "A host without it, or with an older one, does not run the program.",
        "Bundle it, or declare that the host provides it.",
        "bin/server needs libstdc++.so.6, and the pack does not have it.",
        find_left_to_host,
        applies_to=RELOCATABLE,
        has_diff_rule=True,
        concerns_whole_pack=True,
    ),
    Rule(
        "BF112", "own-libc", Severity.ERROR,
        "A part of the C library is loaded from the pack.",
        "The loader that starts the program is the host's (an absolute path), and it works only"
        " with the C library that it was built with: on another version the program crashes before"
        " main.",
        "Leave the file out of the pack: every target has it.",
        "A script copied all that ldd prints, libc.so.6 too, and bin/server has the RUNPATH "
        "$ORIGIN/../lib.",
        find_own_libc,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
