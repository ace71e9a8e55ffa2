"""BF606 and BF607: links that an installation loses, and text files that stand for symlinks.

Sources: npm's pacote leaves out every entry whose type ends in ``Link``; pip writes a member of a
wheel as a regular file; of the programs that unpack zip archives, Info-ZIP's unzip and bsdtar
create symlinks, and Python's zipfile and Java's java.util.zip do not.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from enum import Enum

from bundle_fix.archive.packages.npm import is_npm_package
from bundle_fix.archive.wheel import is_wheel
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import Rule
from bundle_fix.loader.runpath import list_runpath_entries
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import File, Tree
from bundle_fix.plan.links import find_text_symlinks, list_links
from bundle_fix.plan.naming.references import find_mentions
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

MAX_SHOWN = 20
"""Links in the evidence of a finding about all of them."""


class LossyFormat(Enum):
    """A format whose links get lost when it is installed or unpacked."""

    NPM = "npm"
    WHEEL = "wheel"
    ZIP = "zip"


LOSS_TEXTS = {
    LossyFormat.NPM: "npm does not install links, so it will be missing",
    LossyFormat.WHEEL: "pip installs a text file with its target in its place",
    LossyFormat.ZIP: "Python's zipfile and other tools that unpack zip archives without symlinks"
    " write a text file with its target in its place",
}
"""What becomes of a link in each format."""


def find_lost_links(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the links of an archive whose links get lost, if a program or script may use them."""
    tree = context.bundle.tree
    if tree.keeps_symlinks:
        return
    kind = _get_format(tree)
    links = list_links(tree)
    used = _list_search_directories(context)
    needed = context.bundle.needed_names
    mentioned = find_mentions(
        context.bundle,
        [p for p, end in links.items() if end in context.bundle.images],
        own=links,
    )
    unused = []
    for path, end in links.items():
        if posixpath.basename(path) in needed and end in context.bundle.images:
            reason, is_certain = f"objects need {posixpath.basename(path)}", True
        elif any(directory == path or directory.startswith(f"{path}/") for directory in used):
            reason, is_certain = "search paths lead through it", True
        elif path in mentioned:
            reason, is_certain = f"{mentioned[path]} contains its name", False
        else:
            unused.append(path)
            continue
        is_error = is_certain and kind is not LossyFormat.ZIP
        yield rule.make_finding(
            path,
            f"is a link to {end}, and {reason}; {LOSS_TEXTS[kind]}",
            severity=Severity.ERROR if is_error else rule.severity,
            root=Root(RootKind.SYMLINK, path), fixable=isinstance(tree.nodes.get(end), File),
            target=end, format=kind.value,
        )  # fmt: skip
    if unused:
        count = f"{len(unused)} links" if len(unused) > 1 else "a link"
        yield rule.make_finding(
            unused[0] if len(unused) == 1 else "",
            f"{count} (such as {unused[0]}) that no object needs: {LOSS_TEXTS[kind]}",
            severity=Severity.NOTE,
            links=unused[:MAX_SHOWN], format=kind.value,
        )  # fmt: skip


def _get_format(tree: Tree) -> LossyFormat:
    if is_npm_package(tree):
        return LossyFormat.NPM
    return LossyFormat.WHEEL if is_wheel(tree) else LossyFormat.ZIP


def _list_search_directories(context: Context) -> set[str]:
    """Return the directories of the pack in which objects search for libraries."""
    found = set()
    for path, image in context.bundle.images.items():
        for entry in list_runpath_entries(image):
            base, directory = expand_entry(entry, posixpath.dirname(path))
            if base is PathBase.ORIGIN:
                found.add(posixpath.normpath(directory))
    return found


def find_texts_of_symlinks(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the text files that contain the target of a symlink to a library of the pack."""
    needed_at_start = {n.name for p in context.programs.values() for n in p.resolutions}
    for path, (target, library) in find_text_symlinks(context.bundle).items():
        is_needed = posixpath.basename(path) in needed_at_start
        yield rule.make_finding(
            path,
            f"is a text file that contains only {target!r}: a symlink to {library} was lost",
            severity=Severity.ERROR if is_needed else rule.severity,
            root=Root(RootKind.SYMLINK, path), target=target, library=library,
        )  # fmt: skip


RULES = (
    Rule(
        "BF606", "lost-symlink", Severity.WARNING,
        "A link in the archive gets lost when it is installed or unpacked.",
        "npm leaves out links, pip installs a text file in place of a symlink, and so do many tools"
        " that unpack zip archives. A program that needs the name does not start.",
        "Store a copy of the file under the name that is needed, or use a tarball. 'bundle-fix"
        " fix' stores the copy.",
        "An npm package has lib/libpq.so.5 as a symlink to libpq.so.5.17, and bin/psql needs"
        " libpq.so.5.",
        find_lost_links,
        repair=RepairKind.REPLACE_SYMLINK,
    ),
    Rule(
        "BF607", "symlink-as-text", Severity.WARNING,
        "A text file with the name of a library contains only the target of a symlink.",
        "The pack was unpacked, copied or checked out by a tool that does not create symlinks. The"
        " loader stops at such a file: file too short, or invalid ELF header.",
        "Unpack the original again with a tool that creates symlinks. 'bundle-fix fix' restores"
        " the symlink.",
        "lib/libz.so.1 has 13 bytes, which are libz.so.1.3.1.",
        find_texts_of_symlinks,
        repair=RepairKind.RESTORE_SYMLINK,
    ),
)  # fmt: skip
