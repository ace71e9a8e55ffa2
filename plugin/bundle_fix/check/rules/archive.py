"""BF601 to BF605: members of an archive that are not unpacked in the same way everywhere.

Names and hard links that lead out of the archive, and members behind symlinks, are not findings:
such an archive is refused when it is read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.model.content import has_same_bytes
from bundle_fix.model.tree import File, Special, Tree
from bundle_fix.policy.severity import Severity

MAX_SHOWN_OWNERS = 5
"""Owners that a message lists."""
ROOT_NAMES = frozenset({"", "root", "wheel"})
"""Names of the owner 0 and of the group 0."""
BUILD_TIMES = frozenset({"atime", "ctime"})
"""Pax records that differ from build to build, unlike ``mtime``, which a build can set."""


def find_repeated_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that occur more than once in the archive; the last one is unpacked."""
    tree = context.bundle.tree
    for duplicate in tree.duplicates:
        last = tree.nodes.get(duplicate.path)
        if not isinstance(duplicate.node, File):
            continue
        same = isinstance(last, File) and has_same_bytes(duplicate.node.content, last.content)
        worst = Severity.ERROR if duplicate.path in context.bundle.images else rule.severity
        yield rule.make_finding(
            duplicate.path,
            f"occurs more than once in the archive, with {'the same' if same else 'another'}"
            " content",
            severity=Severity.NOTE if same else worst,
            same=same,
        )


def find_colliding_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the names that are equal on a file system that ignores case or Unicode's forms."""
    seen: dict[str, str] = {}
    tree = context.bundle.tree
    for path in [*tree.nodes, *sorted(tree.directories)]:
        first = seen.setdefault(_fold_name(path), path)
        # If two directories collide, the members in them are not reported as well.
        if first != path and posixpath.dirname(first) == posixpath.dirname(path):
            same_case = first.casefold() != path.casefold()
            difference = "the encoding of its accents" if same_case else "upper and lower case"
            yield rule.make_finding(path, f"differs from {first} only in {difference}", other=first)


def _fold_name(path: str) -> str:
    """Return ``path`` as a file system sees it that ignores case and Unicode's forms."""
    if path.isascii():
        return path.lower()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", path).casefold())


def find_special_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the devices, FIFOs and sockets."""
    for path, node in context.bundle.tree.nodes.items():
        if isinstance(node, Special):
            yield rule.make_finding(path, f"is a {node.kind}", kind=node.kind)


def find_unprintable_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the names with control characters, and those that are not UTF-8."""
    for path in context.bundle.tree.nodes:
        name = posixpath.basename(path)
        # Bytes that are not UTF-8 are surrogates (PEP 383), which are not printable.
        if not name.isprintable():
            yield rule.make_finding(
                path, "has a name that contains control characters or is not UTF-8"
            )


def find_build_traces(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield a finding if a tarball contains the owners or times of the machine that built it."""
    tree = context.bundle.tree
    if tree.trailer is None:
        return  # Not a tarball.
    reasons = [reason for reason in (_describe_owners(tree), _describe_times(tree)) if reason]
    if reasons:
        yield rule.make_finding(
            "", f"the tarball is not reproducible: {', and '.join(reasons)}", reasons=reasons
        )


def _describe_owners(tree: Tree) -> str:
    owners = dict.fromkeys(
        node.metadata.owner or str(node.metadata.uid)
        for node in tree.nodes.values()
        if node.metadata.uid or node.metadata.owner not in ROOT_NAMES
    )
    return f"members belong to {', '.join([*owners][:MAX_SHOWN_OWNERS])}" if owners else ""


def _describe_times(tree: Tree) -> str:
    has_times = any(BUILD_TIMES & node.metadata.extra.keys() for node in tree.nodes.values())
    return "headers contain access or change times" if has_times else ""


RULES = (
    Rule(
        "BF601", "repeated-name", Severity.WARNING,
        "A file occurs more than once in the archive.",
        "tar unpacks the last one over the others, but 'tar --keep-old-files' keeps the first one."
        " So the target gets one or the other, depending on how the archive is unpacked.",
        "Create a new archive instead of appending to one ('tar -r', 'tar -A').",
        "A hotfix of lib/libx.so.4 was appended with 'tar -rf' to a pack that already contained the"
        " file.",
        find_repeated_files,
    ),
    Rule(
        "BF602", "case-collision", Severity.NOTE,
        "Two names differ only in upper and lower case, or in the encoding of an accent.",
        "On file systems that treat the names as equal (macOS, Windows, some network shares), one"
        " file overwrites the other.",
        "Rename one of the files if the pack is ever unpacked on such a file system.",
        "lib/ contains Xml.so and xml.so.",
        find_colliding_names,
    ),
    Rule(
        "BF603", "special-file", Severity.WARNING,
        "The pack contains a device, a FIFO or a socket.",
        "Only root can unpack a device, and a program that opens a FIFO blocks. No pack needs such"
        " a file.",
        "Remove the file. Programs create their FIFOs and sockets when they start.",
        "A test run left run/server.sock in the installation directory.",
        find_special_files,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF604", "unprintable-name", Severity.WARNING,
        "A file name contains control characters or is not UTF-8.",
        "Control characters can change the state of a terminal, a newline breaks scripts, and tools"
        " that expect UTF-8 fail.",
        "Rename the file.",
        "The variable NAME in a script ended in a newline, and so does the file created from it.",
        find_unprintable_names,
    ),
    Rule(
        "BF605", "not-reproducible", Severity.NOTE,
        "The tarball contains the owners or times of the machine that built it.",
        "Two builds of the same source differ, so they cannot be compared, and they do not share a"
        " checksum in a cache.",
        "'bundle-fix pack' writes reproducible packs. With GNU tar: --sort=name"
        " --owner=0 --group=0 --numeric-owner"
        " --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime.",
        "Members belong to the user jenkins, and the headers contain access times.",
        find_build_traces,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
