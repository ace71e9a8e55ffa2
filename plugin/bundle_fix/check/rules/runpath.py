"""BF202 to BF206: wrong and useless entries of RPATH and RUNPATH.

These rules are about the entries themselves; BF101 and BF102 are about the libraries found by them.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from bundle_fix.check.context import Context
from bundle_fix.check.facts.foreign_entries import find_owner_of_entry
from bundle_fix.check.facts.privileges import FIX_PRIVILEGED_PROGRAM, find_intended_prefix
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.rtld import list_default_directories
from bundle_fix.loader.runpath import RunpathKind, classify_runpath_entry, list_runpath_entries
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

EXPANDED_ORIGIN = re.compile(r"/\.\./|\{?ORIGIN\b|\\+\$|\$\$+\{?ORIGIN\b")
"""The beginning of an entry that was ``$ORIGIN/...`` before a shell, make or CMake expanded it."""
HINT_EXPANDED_ORIGIN = (
    "A shell or make probably expanded $ORIGIN. Write '$ORIGIN' in single quotes in a shell,"
    " $$ORIGIN in make, and \\$ORIGIN in CMake."
)


def _find_entries(
    rule: Rule, context: Context, kind: RunpathKind, explanation: str
) -> Iterator[Finding]:
    """Yield the entries of one kind; ``explanation`` ends their messages."""
    for path, image, entry in _iter_entries(context):
        if (
            classify_runpath_entry(context.bundle.tree, entry, posixpath.dirname(path), image)
            is not kind
        ):
            continue
        owner = find_owner_of_entry(
            context.bundle.tree, path, image, entry, context.package_dependencies
        )
        if owner and kind is RunpathKind.ABSENT:
            continue
        severity = rule.severity
        if owner or (kind is RunpathKind.ABSOLUTE and _is_usable(context, path, entry)):
            severity = Severity.NOTE
        elif severity is Severity.ERROR:
            severity = context.get_load_severity(path)
        finding = _make_entry_finding(
            rule,
            path,
            image,
            entry,
            f"which leads to {owner}" if owner else explanation,
            severity,
        )
        if kind is RunpathKind.ABSOLUTE and context.bundle.find_privileges(path):
            finding = replace(finding, fixable=False, hint=FIX_PRIVILEGED_PROGRAM)
        yield finding


def _iter_entries(context: Context) -> Iterator[tuple[str, Image, str]]:
    """Yield each entry of RUNPATH or RPATH with the path and the image of its object."""
    for path, image in context.bundle.images.items():
        if image.is_dynamic:
            for entry in list_runpath_entries(image):
                yield path, image, entry


def _make_entry_finding(
    rule: Rule, path: str, image: Image, entry: str, explanation: str, severity: Severity
) -> Finding:
    """Return a finding about one entry; ``explanation`` ends its message."""
    tag = "RUNPATH" if image.runpath is not None else "RPATH"
    return rule.make_finding(
        path,
        f"has the {tag} entry {entry or '(empty)'}, {explanation}",
        severity=severity,
        hint=HINT_EXPANDED_ORIGIN if EXPANDED_ORIGIN.match(entry) else None,
        root=Root(RootKind.ENTRY, entry),
        entry=entry,
        tag=tag.lower(),
        value=image.runpath if image.runpath is not None else image.rpath,
    )


def _is_usable(context: Context, path: str, entry: str) -> bool:
    """Return whether an absolute entry leads to a directory of hosts, or to the installed pack.

    Only a privileged program can depend on the place where the pack is installed.
    """
    image = context.bundle.images[path]
    if posixpath.normpath(entry) in list_default_directories(image):
        # The loader searches the directory in any case, but after the other entries.
        needs = context.resolutions_by_object.get(path, ())
        return not any(
            need.result.trace and need.result.trace[-1].entry == entry
            for need in needs
            if context.bundle.find_providers(need.name, image)
        )
    if find_intended_prefix(context, path, entry) is not None:
        return True
    return context.deployment.view.has_host_directory(entry)


def find_absolute_entries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the entries that are absolute paths."""
    return _find_entries(
        rule, context, RunpathKind.ABSOLUTE, "an absolute path, which may not exist on the target"
    )


def find_relative_entries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the entries that depend on the working directory; an empty entry is that directory."""
    return _find_entries(
        rule, context, RunpathKind.RELATIVE, "which depends on the working directory"
    )


def find_entries_outside(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the entries that lead out of the pack."""
    return _find_entries(rule, context, RunpathKind.OUTSIDE, "which leads out of the pack")


def find_ignored_rpaths(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects with an RPATH that the loader ignores because of their RUNPATH."""
    for path, image in context.bundle.images.items():
        if image.rpath is not None and image.runpath is not None:
            yield rule.make_finding(
                path,
                "has both RPATH and RUNPATH; the loader ignores the RPATH",
                rpath=image.rpath,
                runpath=image.runpath,
            )


def find_useless_entries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the entries that lead to no directory of the pack, and repeated entries."""
    yield from _find_entries(
        rule, context, RunpathKind.ABSENT, "a directory that does not exist in the pack"
    )
    for path in context.iter_dynamic_files():
        image, home = context.bundle.images[path], posixpath.dirname(path)
        for entry, count in Counter(list_runpath_entries(image)).items():
            if (
                count > 1
                and classify_runpath_entry(context.bundle.tree, entry, home, image)
                is RunpathKind.INSIDE
            ):
                message = f"has the entry {entry} {count} times"
                root = Root(RootKind.ENTRY, entry)
                yield rule.make_finding(path, message, root=root, entry=entry)


FIX_ENTRY = "Replace the entry with a path that begins with $ORIGIN, or remove it."

RULES = (
    Rule(
        "BF202", "absolute-runpath", Severity.WARNING,
        "A RUNPATH or RPATH entry is an absolute path.",
        "The path is a directory of the build machine. On the target it does not exist, or another"
        " user may own it and put libraries there.",
        FIX_ENTRY,
        "bin/server still has the RUNPATH /home/ci/thirdparty/output/lib.",
        find_absolute_entries,
        applies_to=RELOCATABLE,
        repair=RepairKind.REMOVE_ENTRY,
    ),
    Rule(
        "BF203", "relative-runpath", Severity.ERROR,
        "A RUNPATH or RPATH entry is empty or relative to the working directory.",
        "The library that is loaded depends on the directory in which the program is started. A"
        " user who can write to that directory can replace the library.",
        FIX_ENTRY,
        "bin/server has the RUNPATH '.', so 'cd / && /opt/pack/bin/server' finds no library.",
        find_relative_entries,
        repair=RepairKind.REMOVE_ENTRY,
    ),
    Rule(
        "BF204", "runpath-leaves-pack", Severity.WARNING,
        "A RUNPATH or RPATH entry leads out of the pack.",
        "The libraries that it leads to depend on the directory into which the pack is unpacked.",
        FIX_ENTRY,
        "bin/server has the RUNPATH $ORIGIN/../../thirdparty/lib, which exists only in the build"
        " tree.",
        find_entries_outside,
        applies_to=RELOCATABLE,
        repair=RepairKind.REMOVE_ENTRY,
    ),
    Rule(
        "BF205", "rpath-and-runpath", Severity.NOTE,
        "An object has both RPATH and RUNPATH.",
        "The loader ignores the RPATH of an object that has a RUNPATH, so the RPATH is misleading.",
        "Remove the RPATH.",
        "A tool added a RUNPATH to a program that already had an RPATH.",
        find_ignored_rpaths,
    ),
    Rule(
        "BF206", "useless-entry", Severity.NOTE,
        "A RUNPATH or RPATH entry is repeated, or its directory does not exist in the pack.",
        "The loader searches there at every start without success. A user who creates the"
        " directory can replace the libraries of the program.",
        "Remove the entry, unless libraries are installed there later.",
        "bin/server has the RUNPATH $ORIGIN/../lib:$ORIGIN/../lib64, and the pack has no lib64"
        " directory.",
        find_useless_entries,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
