"""BF1xx: links that are missing, or lead nowhere or out of the pack."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.model.tree import Unresolved
from bundle_fix.plan.links import find_broken_symlinks, find_missing_soname_symlinks
from bundle_fix.policy.severity import Severity


def find_soname_link(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries that nothing can find under their soname."""
    mapped = {n.name for p in context.programs.values() for n in p.resolutions}
    needed = {name for image in context.bundle.images.values() for name in image.needed}
    for link, path in find_missing_soname_symlinks(context.bundle).items():
        name = posixpath.basename(link)
        severity = (
            Severity.ERROR
            if name in mapped
            else Severity.WARNING
            if name in needed
            else Severity.NOTE
        )
        yield rule.make_finding(
            path,
            f"has the soname {name}, but no file or link of that name leads to it",
            severity=severity,
            hint=f"Add the link {link}; 'bundle-fix fix' does so where it can.",
            soname=name,
            link=link,
        )


def _find_lost(rule: Rule, context: Context, kinds: tuple[Unresolved, ...]) -> Iterator[Finding]:
    needed = {name for image in context.bundle.images.values() for name in image.needed}
    for path, (target, lost) in find_broken_symlinks(context.bundle.tree).items():
        if lost not in kinds or target == "/dev/null" or _is_on_host(context, path):
            continue
        severity = Severity.ERROR if posixpath.basename(path) in needed else rule.severity
        if DOCUMENTS & set(path.split("/")) and severity != Severity.ERROR:
            severity = Severity.NOTE
        yield rule.make_finding(
            path, f"is a link to {target}, which {lost.value}", severity=severity, target=target
        )


DOCUMENTS = frozenset({"doc", "man", "info", "locale", "help"})
"""Folders of what people read: nothing runs worse without it."""


def _is_on_host(context: Context, path: str) -> bool:
    """Whether a link leads to something on a host whose files are known."""
    view = context.deployment.view
    return view.host is not None and isinstance(
        view.resolve_path(view.get_absolute_path(path)), str
    )


def find_dangling(rule: Rule, context: Context) -> Iterator[Finding]:
    """Links that lead to nothing, or in a circle."""
    return _find_lost(rule, context, (Unresolved.MISSING, Unresolved.LOOP))


def find_escaping(rule: Rule, context: Context) -> Iterator[Finding]:
    """Links that leave the pack."""
    return _find_lost(rule, context, (Unresolved.OUTSIDE,))


RULES = (
    Rule(
        "BF103", "no-soname-link", Severity.ERROR,
        "No file or link in the pack has a library's soname.",
        "Programs need libraries by soname; under any other file name the library is not found.",
        "Add a link of that name; 'bundle-fix fix' does so where it can.",
        "lib/ has librocksdb.so.8.5.3, whose soname is librocksdb.so.8, and no link "
        "librocksdb.so.8.",
        find_soname_link,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF104", "dangling-link", Severity.WARNING,
        "A link leads to nothing in the pack.",
        "Whatever opens it fails, or the loader goes on to the host.",
        "Put its target into the pack, or leave the link out; 'bundle-fix fix' mends a link"
        " whose name is the soname of a library in the same folder.",
        "lib/libz.so is a link to libz.so.1.2.11, which stayed on the build machine.",
        find_dangling,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF105", "escaping-link", Severity.WARNING,
        "A link leads out of the pack.",
        "On the target it leads to another file than on the build machine, or to none.",
        "Make it a relative link to a file of the pack.",
        "lib/libz.so.1 is a link to /usr/lib/x86_64-linux-gnu/libz.so.1.",
        find_escaping,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
