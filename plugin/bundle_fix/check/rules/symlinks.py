"""BF103 to BF105 and BF115: missing, broken, escaping and stale symlinks."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.model.symlinks import UNRESOLVED_TEXTS, Unresolved
from bundle_fix.plan.links import (
    find_broken_symlinks,
    find_missing_soname_symlinks,
    find_stale_symlinks,
)
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

DOCUMENTATION = frozenset({"doc", "man", "info", "locale", "help"})
"""Directories of documentation, which programs do not need to run."""


def find_missing_soname_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries that no file name in the pack provides under their soname."""
    needed = context.bundle.needed_names
    needed_at_start = {n.name for p in context.programs.values() for n in p.resolutions}
    for symlink, path in find_missing_soname_symlinks(context.bundle).items():
        name = posixpath.basename(symlink)
        if name in needed_at_start:
            severity = Severity.ERROR
        else:
            severity = Severity.WARNING if name in needed else Severity.NOTE
        yield rule.make_finding(
            path,
            f"has the soname {name}, but no file or symlink has that name",
            severity=severity,
            hint=f"Add the symlink {symlink}.",
            root=Root(RootKind.MISSING_SYMLINK, symlink),
            soname=name,
            symlink=symlink,
        )


def find_dangling_symlinks(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the symlinks without a target, and those of a loop."""
    return _find_symlinks(rule, context, (Unresolved.MISSING, Unresolved.LOOP))


def find_escaping_symlinks(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the symlinks whose target is outside the pack."""
    return _find_symlinks(rule, context, (Unresolved.OUTSIDE,))


def find_links_to_other_versions(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the symlinks to another version of a library than their name says."""
    loaded: dict[tuple[str, str | None], Severity] = {}
    for severity, _, need in context.resolutions:
        key = (posixpath.basename(need.name), need.result.path)
        loaded[key] = min(severity, loaded.get(key, severity), key=lambda s: s.rank)
    for path, stale in find_stale_symlinks(context.bundle).items():
        name = posixpath.basename(path)
        version = context.bundle.images[stale.target].soname or posixpath.basename(stale.target)
        message = f"leads to {stale.target}, which is {version}; {name} is {stale.right[0]}"
        if stale.is_ambiguous:
            message += " or " + " or ".join(stale.right[1:])
        yield rule.make_finding(
            path,
            message,
            severity=loaded.get((name, stale.target), rule.severity),
            hint=f"Make it a symlink to {' or '.join(stale.right)}.",
            root=Root(RootKind.SYMLINK, path),
            fixable=not stale.is_ambiguous,
            target=stale.target,
            right=list(stale.right),
        )


def _find_symlinks(
    rule: Rule, context: Context, reasons: tuple[Unresolved, ...]
) -> Iterator[Finding]:
    needed = context.bundle.needed_names
    for path, (target, reason) in find_broken_symlinks(context.bundle.tree).items():
        # A symlink to /dev/null masks a file, such as a unit of systemd, on purpose.
        if reason not in reasons or target == "/dev/null" or _exists_on_host(context, path):
            continue
        severity = Severity.ERROR if posixpath.basename(path) in needed else rule.severity
        if DOCUMENTATION & set(path.split("/")) and severity != Severity.ERROR:
            severity = Severity.NOTE
        yield rule.make_finding(
            path,
            f"is a symlink to {target}, which {UNRESOLVED_TEXTS[reason]}",
            severity=severity,
            root=Root(RootKind.SYMLINK, path),
            target=target,
        )


def _exists_on_host(context: Context, path: str) -> bool:
    """Return whether a symlink leads to a file of a host whose files are known."""
    view = context.deployment.view
    return view.host is not None and isinstance(
        view.resolve_path(view.get_absolute_path(path)), str
    )


RULES = (
    Rule(
        "BF103", "missing-soname-symlink", Severity.ERROR,
        "No file or symlink in the pack has the soname of a library as its name.",
        "Programs need a library by its soname, and the loader searches for a file of that name.",
        "Add a symlink of that name.",
        "lib/ contains librocksdb.so.8.5.3 with the soname librocksdb.so.8, but no symlink"
        " librocksdb.so.8.",
        find_missing_soname_names,
        applies_to=RELOCATABLE,
        repair=RepairKind.ADD_SONAME,
    ),
    Rule(
        "BF104", "dangling-symlink", Severity.WARNING,
        "The target of a symlink does not exist in the pack.",
        "A program that opens the symlink fails, and the loader continues its search on the host.",
        "Add the target to the pack, or remove the symlink. 'bundle-fix fix' repairs a symlink"
        " whose name is the soname of a library in the same directory.",
        "lib/libz.so is a symlink to libz.so.1.2.11, which was not copied from the build machine.",
        find_dangling_symlinks,
        applies_to=RELOCATABLE,
        repair=RepairKind.REPAIR_SYMLINK,
    ),
    Rule(
        "BF105", "escaping-symlink", Severity.WARNING,
        "The target of a symlink is outside the pack.",
        "On the target machine that path is another file than on the build machine, or it does not"
        " exist.",
        "Replace it with a relative symlink to a file of the pack.",
        "lib/libz.so.1 is a symlink to /usr/lib/x86_64-linux-gnu/libz.so.1.",
        find_escaping_symlinks,
        applies_to=RELOCATABLE,
        repair=RepairKind.REPAIR_SYMLINK,
    ),
    Rule(
        "BF115", "stale-symlink", Severity.WARNING,
        "A symlink named for one version of a library leads to another version.",
        "The loader compares neither names nor versions: a program that needs the version in the"
        " name runs with the other one.",
        "Make it a symlink to the version that its name says.",
        "lib/libprotobuf.so.32 is a symlink to libprotobuf.so.31.0.0 of the last release, beside"
        " libprotobuf.so.32.0.0.",
        find_links_to_other_versions,
        repair=RepairKind.RETARGET_SYMLINK,
    ),
)  # fmt: skip
