"""BF60x: the archive itself: what unpacks otherwise than it looks, or not everywhere.

What no honest archive has (names and hard links that leave it, members behind links) is no finding:
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

SHOWN = 5
"""Names of one kind that a finding lists."""
ROOT = frozenset({"", "root", "wheel"})
"""Names that the owner 0 and the group 0 have."""
OF_THE_BUILD = frozenset({"atime", "ctime"})


def find_repeated(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that come twice, of which the last one counts."""
    tree = context.bundle.tree
    for oddity in tree.duplicates:
        last = tree.nodes.get(oddity.path)
        if not isinstance(oddity.node, File):
            continue
        same = isinstance(last, File) and has_same_bytes(oddity.node.content, last.content)
        worst = Severity.ERROR if oddity.path in context.bundle.images else rule.severity
        yield rule.make_finding(
            oddity.path,
            "comes twice in the archive" + (", the same both times" if same else ""),
            severity=Severity.NOTE if same else worst,
            same=same,
        )


def find_colliding(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that are one name where upper and lower case, or Unicode's forms, are the same."""
    seen: dict[str, str] = {}
    tree = context.bundle.tree
    for path in [*tree.nodes, *sorted(tree.directories)]:
        first = seen.setdefault(_folded(path), path)
        # A folder's own collision tells of those in it.
        if first != path and posixpath.dirname(first) == posixpath.dirname(path):
            same_case = first.casefold() != path.casefold()
            how = "how its accents are encoded" if same_case else "upper and lower case"
            yield rule.make_finding(path, f"differs from {first} in {how}", other=first)


def _folded(path: str) -> str:
    """``path`` as it is to a file system that is told neither case nor Unicode's forms."""
    if path.isascii():
        return path.lower()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", path).casefold())


def find_special(rule: Rule, context: Context) -> Iterator[Finding]:
    """Devices, fifos and sockets."""
    for path, node in context.bundle.tree.nodes.items():
        if isinstance(node, Special):
            yield rule.make_finding(path, f"is a {node.kind}", kind=node.kind)


def find_unprintable(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that a terminal obeys, or that are no text."""
    for path in context.bundle.tree.nodes:
        name = posixpath.basename(path)
        if not name.isprintable():
            yield rule.make_finding(
                path, "has a name with control characters, or that is not UTF-8"
            )


def find_unreproducible(rule: Rule, context: Context) -> Iterator[Finding]:
    """What a tarball tells of the machine and the moment that it was made in."""
    tree = context.bundle.tree
    if tree.trailer is None:
        return
    reasons = [reason for reason in (_owners(tree), _times(tree)) if reason]
    if reasons:
        yield rule.make_finding("", f"a tarball whose {', and '.join(reasons)}", reasons=reasons)


def _owners(tree: Tree) -> str:
    owners = dict.fromkeys(
        node.metadata.owner or str(node.metadata.uid)
        for node in tree.nodes.values()
        if node.metadata.uid or node.metadata.owner not in ROOT
    )
    return f"members belong to {', '.join([*owners][:SHOWN])}" if owners else ""


def _times(tree: Tree) -> str:
    told = any(OF_THE_BUILD & node.metadata.extra.keys() for node in tree.nodes.values())
    return "headers tell when members were read" if told else ""


RULES = (
    Rule(
        "BF601", "repeated-name", Severity.WARNING,
        "A file comes twice in the archive, and the last one counts.",
        "tar unpacks the later over the earlier, and 'tar --keep-old-files' does not: which one a"
        " target runs depends on how it is unpacked.",
        "Make the archive anew instead of appending to it ('tar -r', 'tar -A').",
        "A hotfix of lib/libx.so.4 was appended by 'tar -rf' to a pack that has one.",
        find_repeated,
    ),
    Rule(
        "BF602", "case-collision", Severity.NOTE,
        "Two names differ in upper and lower case alone, or in how an accent is encoded.",
        "Where the file system makes no difference between them (macOS, Windows, some network"
        " shares), one overwrites the other.",
        "Rename one of them, if the pack is ever unpacked there.",
        "lib/Xml.so and lib/xml.so.",
        find_colliding,
    ),
    Rule(
        "BF603", "special-file", Severity.WARNING,
        "The pack has a device, a fifo or a socket.",
        "Only root can unpack a device, a program that opens a fifo waits, and no pack needs either"
        " of them to run.",
        "Leave it out; programs make their fifos and sockets when they start.",
        "run/server.sock, left from a test run in the install folder.",
        find_special,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF604", "unprintable-name", Severity.WARNING,
        "A name holds control characters, or is not UTF-8.",
        "Terminals obey what is in it, scripts break at its newlines, and tools that expect UTF-8"
        " stop.",
        "Rename it.",
        "A name ends in a newline because of $(cat NAME) in a script.",
        find_unprintable,
    ),
    Rule(
        "BF605", "not-reproducible", Severity.NOTE,
        "The tarball tells of the machine it was made on, so that no second build is like it.",
        "Two builds of one source cannot be compared, and a cache or a signature is of one only.",
        "'bundle-fix pack' writes packs that are always the same; with GNU tar: --sort=name"
        " --owner=0 --group=0 --numeric-owner"
        " --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime.",
        "Members belong to jenkins, and headers tell when the files were last read.",
        find_unreproducible,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
