"""BF2xx: RPATH and RUNPATH, whatever they lead to today."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.package_dependencies import find_package_of_entry
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.runpath import RunpathKind, classify_entry, list_entries
from bundle_fix.policy.severity import Severity


def find_absent(rule: Rule, context: Context) -> Iterator[Finding]:
    """Objects without a search path that need what the pack provides."""
    used = context.loaded_at_start
    for path, image in context.bundle.images.items():
        if image.runpath is not None or image.rpath is not None:
            continue
        names = [
            name
            for name in image.needed
            if "/" not in name
            and not is_part_of_libc(name)
            and context.bundle.find_providers(name, image)
        ]
        # What an inherited RPATH finds, or a default directory, needs no RUNPATH.
        if not names or _all_found(context, path, names):
            continue
        yield rule.make_finding(
            path,
            f"has no RUNPATH, though the pack provides {join_names(names, 3)}",
            severity=_severity(
                context, path, used, Severity.ERROR if image.is_program else Severity.WARNING
            ),
            needed=names,
        )


def _all_found(context: Context, path: str, names: list[str]) -> bool:
    """Whether a search of its own finds each name for ``path`` in the pack, in every process."""
    needs = [need for need in context.resolutions_by_object.get(path, ()) if need.name in names]
    found = {need.name for need in needs}
    return found == set(names) and all(
        need.result.origin is ObjectOrigin.BUNDLE
        and (
            not need.already_loaded
            or context.deployment.repeat_search(need).origin is ObjectOrigin.BUNDLE
        )
        for need in needs
    )


def _severity(context: Context, path: str, used: frozenset[str], worst: Severity) -> Severity:
    if path in used:
        return worst
    return context.plugin_severity if worst == Severity.ERROR else worst


def _find_kind(rule: Rule, context: Context, kind: RunpathKind, message: str) -> Iterator[Finding]:
    used = context.loaded_at_start
    for path, image in context.bundle.images.items():
        if not image.is_dynamic:
            continue
        home = posixpath.dirname(path)
        for entry in list_entries(image):
            if classify_entry(context.bundle.tree, entry, home, image) is not kind:
                continue
            tag = "RUNPATH" if image.runpath is not None else "RPATH"
            yield rule.make_finding(
                path,
                f"has the {tag} entry {entry or '(empty)'}, {message}",
                severity=Severity.NOTE
                if _is_meant(context, kind, entry)
                else _severity(context, path, used, rule.severity),
                hint=EATEN if LOST_ORIGIN.match(entry) else None,
                entry=entry,
                tag=tag.lower(),
                value=image.runpath if image.runpath is not None else image.rpath,
            )


def _is_meant(context: Context, kind: RunpathKind, entry: str) -> bool:
    """Whether an entry names a folder of the host, or of a package that is installed beside."""
    if kind is RunpathKind.ABSOLUTE:
        return _is_on_host(context, entry)
    return (
        kind is RunpathKind.OUTSIDE
        and find_package_of_entry(entry, context.package_dependencies) is not None
    )


def _is_on_host(context: Context, folder: str) -> bool:
    """Whether a host whose files are known has the folder."""
    view = context.deployment.view
    return view.host is not None and isinstance(view.resolve_directory(folder), str)


def find_absolute(rule: Rule, context: Context) -> Iterator[Finding]:
    """Entries that name a place on the build machine."""
    return _find_kind(
        rule, context, RunpathKind.ABSOLUTE, "an absolute path: what is there depends on the target"
    )


def find_relative(rule: Rule, context: Context) -> Iterator[Finding]:
    """Entries that depend on where the program is started."""
    return _find_kind(
        rule, context, RunpathKind.RELATIVE, "which means the folder that the program is started in"
    )


def find_leaving(rule: Rule, context: Context) -> Iterator[Finding]:
    """Entries that lead out of the pack."""
    return _find_kind(rule, context, RunpathKind.OUTSIDE, "which leads out of the pack")


def find_both(rule: Rule, context: Context) -> Iterator[Finding]:
    """Objects with an RPATH that their RUNPATH silences."""
    for path, image in context.bundle.images.items():
        if image.rpath is not None and image.runpath is not None:
            yield rule.make_finding(
                path,
                "has both RPATH and RUNPATH; the loader ignores the RPATH",
                rpath=image.rpath,
                runpath=image.runpath,
            )


def find_useless(rule: Rule, context: Context) -> Iterator[Finding]:
    """Entries that name no folder of the pack, or one that another names already."""
    yield from _find_kind(rule, context, RunpathKind.ABSENT, "a folder that the pack does not have")
    for path in context.iter_dynamic_files():
        image, home = context.bundle.images[path], posixpath.dirname(path)
        for entry, count in Counter(list_entries(image)).items():
            if (
                count > 1
                and classify_entry(context.bundle.tree, entry, home, image) is RunpathKind.INSIDE
            ):
                yield rule.make_finding(path, f"has the entry {entry} {count} times", entry=entry)


def find_privileged(rule: Rule, context: Context) -> Iterator[Finding]:
    """Programs that run with more rights than their user's and count on ``$ORIGIN``."""
    for path, process in context.programs.items():
        image, node = context.bundle.images[path], context.bundle.tree.nodes[path]
        bits = node.metadata.mode & SET_ID
        followed = [
            entry for entry in list_entries(image) if entry.startswith(("$ORIGIN", "${ORIGIN}"))
        ]
        if not bits or not followed:
            continue
        lost = [
            need.name
            for need in process.resolutions
            if need.result.origin is not ObjectOrigin.BUNDLE
            and context.bundle.find_providers(need.name, image)
        ]
        yield rule.make_finding(
            path,
            f"is {SET_ID_NAMES[bits]}, so the loader does not follow its entry {followed[0]}"
            + (f" to {join_names(lost, 3)}" if lost else ""),
            severity=Severity.ERROR if lost else Severity.WARNING,
            mode=f"{node.metadata.mode:04o}",
            entries=followed,
            needed=lost,
        )


LOST_ORIGIN = re.compile(r"/\.\./|\{?ORIGIN\b|\\+\$|\$\$+\{?ORIGIN\b")
"""How an entry begins that was ``$ORIGIN/...`` before a shell, make or CMake read it."""
EATEN = (
    "It looks like $ORIGIN that a shell or make took away: write '$ORIGIN' in single quotes in a"
    " shell, $$ORIGIN in make, \\$ORIGIN in CMake."
)
SET_ID = 0o6000
SET_ID_NAMES = {0o2000: "set-gid", 0o4000: "set-uid", 0o6000: "set-uid and set-gid"}

_MEND = (
    "Leave it out and name the pack's own folder by $ORIGIN; 'bundle-fix fix' does so where it can."
)

RULES = (
    Rule(
        "BF201", "no-runpath", Severity.ERROR,
        "An object needs libraries of the pack and has neither RUNPATH nor RPATH.",
        "The loader looks for them only on the host, or finds them by the luck of another object"
        " having loaded them before.",
        "Give it the RUNPATH that its needed names call for; 'bundle-fix fix' does so where it"
        " can.",
        "bin/server needs lib/libdsn_utils.so and has no RUNPATH: LD_LIBRARY_PATH of the "
        "build machine hid it.",
        find_absent,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF202", "absolute-runpath", Severity.WARNING,
        "A RUNPATH or RPATH entry is an absolute path.",
        "It named a folder of the build machine; on the target anybody may own that folder.",
        _MEND,
        "bin/server still has the RUNPATH /home/ci/thirdparty/output/lib.",
        find_absolute,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF203", "relative-runpath", Severity.ERROR,
        "A RUNPATH or RPATH entry is empty or relative to the working directory.",
        "What is loaded depends on where the program is started, and so does who can replace it.",
        _MEND,
        "bin/server has the RUNPATH '.', so 'cd / && /opt/pack/bin/server' finds nothing.",
        find_relative,
    ),
    Rule(
        "BF204", "runpath-leaves-pack", Severity.WARNING,
        "A RUNPATH or RPATH entry leads out of the pack.",
        "What is there depends on where the pack is unpacked.",
        _MEND,
        "bin/server has the RUNPATH $ORIGIN/../../thirdparty/lib, which was right in the "
        "build tree.",
        find_leaving,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF205", "rpath-and-runpath", Severity.NOTE,
        "An object has both RPATH and RUNPATH.",
        "The loader ignores RPATH where there is RUNPATH, so one of them misleads its reader.",
        "Remove the RPATH; 'bundle-fix fix' does so when it edits the file.",
        "A tool added a RUNPATH to a program that had an RPATH.",
        find_both,
    ),
    Rule(
        "BF206", "useless-entry", Severity.NOTE,
        "A RUNPATH or RPATH entry names a folder that the pack does not have, or names it again.",
        "The loader looks there in vain at every start; whoever makes the folder decides what is"
        " loaded.",
        "Leave it out, if nothing puts libraries there later.",
        "bin/server has the RUNPATH $ORIGIN/../lib:$ORIGIN/../lib64, and there is no lib64.",
        find_useless,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF207", "origin-in-privileged-program", Severity.ERROR,
        "A set-uid or set-gid program has a search path that begins with $ORIGIN.",
        "For such programs the loader follows $ORIGIN only into the system's own directories"
        " (ld.so(8), secure-execution mode): the pack's libraries are not found, or the host's"
        " are taken.",
        "Clear the bit, or install the program in a fixed place with an absolute RUNPATH that only"
        " root can write to.",
        "bin/sandbox has mode 4755 and the RUNPATH $ORIGIN/../lib.",
        find_privileged,
    ),
)  # fmt: skip
