"""BF1xx: which file each needed name leads to."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from bundle_fix.check.context import Context
from bundle_fix.check.findings import ERROR, NOTE, SEVERITIES, WARNING, Finding, Rule
from bundle_fix.links import lost_links, missing_soname_links
from bundle_fix.loader.libc import LOADER, belongs_to_libc
from bundle_fix.loader.objects import BUNDLE, HOST, MISSING, Step
from bundle_fix.loader.process import Need, Process
from bundle_fix.tree import Lost


def trace_evidence(trace: tuple[Step, ...]) -> list[dict[str, str]]:
    """A search trace as JSON holds it."""
    return [
        {"place": s.place, "via": s.via, "entry": s.entry, "verdict": s.verdict}
        | ({"owner": s.owner} if s.owner else {})
        for s in trace
    ]


def worst_needs(
    context: Context, origin: str
) -> dict[tuple[str, str], tuple[str, Need, list[Process]]]:
    """Needs with ``origin``: by requester and name, the worst severity and the processes."""
    found: dict[tuple[str, str], tuple[str, Need, list[Process]]] = {}
    for severity, process, need in context.needs:
        if need.result.origin != origin or need.requester.path is None:
            continue
        key = (need.requester.path, need.name)
        known = found.setdefault(key, (severity, need, []))
        known[2].append(process)
        if SEVERITIES.index(severity) < SEVERITIES.index(known[0]):
            found[key] = (severity, need, known[2])
    return found


def _evidence(need: Need, processes: list[Process]) -> dict[str, Any]:
    return {
        "needed": need.name,
        "needed_by": need.requester.path,
        "programs": sorted({process.entry for process in processes}),
        "chain": [link.path or link.name for link in need.requester.loaders()][::-1],
        "trace": trace_evidence(need.result.trace),
    }


def find_missing(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that neither the pack nor the host's list has."""
    for (path, name), (severity, need, processes) in worst_needs(context, MISSING).items():
        image = need.requester.image
        if image is not None and name == image.interpreter:
            message = f"wants the interpreter {name}, which the host does not have"
            hint = "run it on a host of its own machine and C library"
        else:
            message = f"needs {name}, which is neither in the pack nor expected on the host"
            message += _nearest(context, need)
            hint = f"put {name} into the pack, or say --host-provides {name}"
        yield rule.finding(
            path, message, severity=severity, hint=hint, **_evidence(need, processes)
        )


def _nearest(context: Context, need: Need) -> str:
    """What the pack has that may have been meant: of another machine, or of another version."""
    named = context.bundle.named
    for path in named.get(need.name, ()):
        image = context.bundle.images[path]
        return f" ({path} is {image.format.bits}-bit {image.machine})"
    close = context.versions.get(need.name.partition(".so")[0], ())
    return f" (the pack has {', '.join(sorted(close))})" if close else ""


def find_host_wins(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that the pack provides and the host's loader finds elsewhere."""
    for (path, name), (severity, need, processes) in worst_needs(context, HOST).items():
        if need.requester.image is None or belongs_to_libc(posixpath.basename(name)):
            continue
        # What the host's own libraries need is the host's; LD_LIBRARY_PATH has a rule of its own.
        if need.requester.origin == HOST or need.result.via == "ld_library_path":
            continue
        provided = context.bundle.providers(posixpath.basename(name), need.requester.image)
        if not provided:
            continue
        lenient = severity == WARNING and _opened_before(context, provided, name)
        yield rule.finding(
            path,
            f"needs {name}; the pack has {_where(provided, name)}, but the host's"
            f" {need.result.path} is loaded",
            severity=NOTE if lenient else severity,
            provided=list(provided),
            loaded=need.result.path,
            **_evidence(need, processes),
        )


def _opened_before(context: Context, provided: tuple[str, ...], name: str) -> bool:
    """Whether the provider itself is there under its name and only ever opened at run time.

    A JDK's launcher opens libjvm.so by its path; the libraries that need it come later and find it
    loaded.
    """
    return all(path not in context.mapped and posixpath.basename(path) == name for path in provided)


def _where(provided: tuple[str, ...], name: str) -> str:
    first = provided[0]
    named_so = posixpath.basename(first) == posixpath.basename(name)
    return first if named_so else f"it under another name ({first})"


def find_soname_link(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries that nothing can find under their soname."""
    mapped = {n.name for p in context.programs.values() for n in p.needs}
    needed = {name for image in context.bundle.images.values() for name in image.needed}
    for link, path in missing_soname_links(context.bundle).items():
        name = posixpath.basename(link)
        severity = ERROR if name in mapped else WARNING if name in needed else NOTE
        yield rule.finding(
            path,
            f"has the soname {name}, but no file or link of that name leads to it",
            severity=severity,
            soname=name,
            link=link,
        )


def _find_lost(rule: Rule, context: Context, kinds: tuple[Lost, ...]) -> Iterator[Finding]:
    needed = {name for image in context.bundle.images.values() for name in image.needed}
    for path, (target, lost) in lost_links(context.bundle.tree).items():
        if lost in kinds:
            severity = ERROR if posixpath.basename(path) in needed else rule.severity
            yield rule.finding(
                path, f"is a link to {target}, which {lost.value}", severity=severity,
                target=target,
            )  # fmt: skip


def find_dangling(rule: Rule, context: Context) -> Iterator[Finding]:
    """Links that lead to nothing, or in a circle."""
    return _find_lost(rule, context, (Lost.MISSING, Lost.LOOP))


def find_escaping(rule: Rule, context: Context) -> Iterator[Finding]:
    """Links that leave the pack."""
    return _find_lost(rule, context, (Lost.OUTSIDE,))


def find_two_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Sonames that two different files of one architecture have, where something needs them."""
    bundle = context.bundle
    needed = {name for image in bundle.images.values() for name in image.needed}
    by_soname: dict[tuple[object, str], list[str]] = {}
    for path in bundle.libraries():
        image = bundle.images[path]
        if image.soname and image.soname in needed and "glibc-hwcaps" not in path:
            by_soname.setdefault((image.architecture, image.soname), []).append(path)
    for (_, soname), paths in by_soname.items():
        first, *others = paths
        differing = [other for other in others if not bundle.same_file(first, other)]
        if differing:
            yield rule.finding(
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
        if image is None or need.result.via == "direct" or context.on_host(name):
            continue
        if not context.bundle.providers(name, image):
            users.setdefault(name, []).append(path)
    for name, paths in users.items():
        yield rule.finding(
            paths[0],
            f"needs {name}, which is left to the host",
            hint=f"bundle {name}, or say --host-provides {name}",
            needed=name,
            needed_by=paths,
        )


def find_own_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Parts of the C library that are mapped from the pack, beneath the host's own loader."""
    users: dict[str, list[tuple[str, Need, Process]]] = {}
    for severity, process, need in context.needs:
        if need.result.origin == BUNDLE and belongs_to_libc(posixpath.basename(need.name)):
            users.setdefault(need.result.path or "", []).append((severity, need, process))
    brings_loader = any(LOADER.fullmatch(name) for name in context.bundle.named)
    for path, uses in users.items():
        severity = min((severity for severity, _, _ in uses), key=SEVERITIES.index)
        _, need, _ = uses[0]
        yield rule.finding(
            path,
            f"is loaded in the place of the host's {need.name}, by {need.requester.path}",
            severity=WARNING if brings_loader else severity,
            **_evidence(need, [process for _, _, process in uses]),
        )


RULES = (
    Rule(
        "BF101", "not-found", ERROR,
        "A needed name is neither in the pack nor expected on the host.",
        "The loader ends the program before main, or dlopen() fails: 'cannot open shared object"
        " file'.",
        "Put the library into the pack, or declare that the host provides it.",
        "bin/server needs libboost_regex.so.1.74.0; nobody copied it, and no distribution "
        "promises it.",
        find_missing,
    ),
    Rule(
        "BF102", "host-wins", ERROR,
        "The pack provides a needed name, but the host's copy is loaded.",
        "The program runs with a library that it was not built for; two copies of one allocator"
        " end in free().",
        "Add the link or the RUNPATH that leads to the pack's own copy; 'bundle-fix fix' does so"
        " where it can.",
        "bin/server needs libtcmalloc.so.4; the pack has the file as libtcmalloc.so, and "
        "the older libtcmalloc.so.4 in /lib64 is loaded.",
        find_host_wins,
    ),
    Rule(
        "BF103", "no-soname-link", ERROR,
        "No file or link in the pack has a library's soname.",
        "Programs need libraries by soname; under any other file name the library is not found.",
        "Add a link of that name; 'bundle-fix fix' does so where it can.",
        "lib/ has librocksdb.so.8.5.3, whose soname is librocksdb.so.8, and no link "
        "librocksdb.so.8.",
        find_soname_link,
    ),
    Rule(
        "BF104", "dangling-link", WARNING,
        "A link leads to nothing in the pack.",
        "Whatever opens it fails, or the loader goes on to the host.",
        "Put its target into the pack, or leave the link out; 'bundle-fix fix' mends a link"
        " whose name is the soname of a library in the same folder.",
        "lib/libz.so is a link to libz.so.1.2.11, which stayed on the build machine.",
        find_dangling,
    ),
    Rule(
        "BF105", "escaping-link", WARNING,
        "A link leads out of the pack.",
        "On the target it leads to another file than on the build machine, or to none.",
        "Make it a relative link to a file of the pack.",
        "lib/libz.so.1 is a link to /usr/lib/x86_64-linux-gnu/libz.so.1.",
        find_escaping,
    ),
    Rule(
        "BF106", "two-files-one-soname", NOTE,
        "Two different files have one soname, and something needs it.",
        "Which of them a process gets depends on search order and on what was loaded before.",
        "Keep one of them.",
        "lib/libssl.so.3 and lib/compat/libssl.so.3 differ, and bin/server needs "
        "libssl.so.3.",
        find_two_files,
    ),
    Rule(
        "BF110", "left-to-host", NOTE,
        "A library that most hosts have, but not all, is left to the host.",
        "A host without it, or with an older one, does not run the program.",
        "Bundle it, or declare that the host provides it.",
        "bin/server needs libstdc++.so.6, and the pack does not have it.",
        find_left_to_host,
    ),
    Rule(
        "BF112", "own-libc", ERROR,
        "A part of the C library is loaded from the pack.",
        "The loader that starts the program is the host's (an absolute path), and it works only"
        " with the C library that it was built with: on another version the program crashes before"
        " main.",
        "Leave the file out of the pack: every target has it.",
        "A script copied all that ldd prints, libc.so.6 too, and bin/server has the RUNPATH "
        "$ORIGIN/../lib.",
        find_own_libc,
    ),
)  # fmt: skip
