"""Findings: the problems that rules report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct, field

from bundle_fix.policy.policy import AcceptedFinding
from bundle_fix.policy.severity import Severity


class RootKind(Enum):
    """The kind of thing that a finding comes from; the values are codes for JSON.

    Of causes with the same severity, a report lists those of the first kinds first.
    """

    MISSING_SYMLINK = "missing_symlink"
    """A name that a library of the pack lacks; its path."""
    SYMLINK = "symlink"
    """A symlink that is broken, lost or leads to another file; its path."""
    LIBRARY = "library"
    """A library that is neither in the pack nor on the host; its needed name."""
    HOST_COPY = "host_copy"
    """A library of the host that is loaded; its needed name."""
    DIRECTORY = "directory"
    """A directory of the pack that objects do not search, though they need its libraries."""
    BASELINE = "baseline"
    """The glibc of the target, which is older than files require; its version."""
    COPIES = "copies"
    """Files that are in one process, or may be; their names, separated by commas."""
    ENTRY = "entry"
    """An entry of RUNPATH or RPATH, as written."""
    HOST_LIBRARY = "host_library"
    """A library that the pack leaves to the host; its needed name."""
    RULE = "rule"
    """Nothing that other findings share; the name is the code of the rule."""


class Root(Struct, frozen=True):
    """What a finding comes from; findings with the same root are one cause."""

    kind: RootKind
    name: str


def make_copies_root(labels: Iterable[str]) -> Root:
    """Return the root for copies in one process, which is the same in any order of loading."""
    return Root(RootKind.COPIES, ", ".join(sorted(labels)))


class Finding(Struct, frozen=True):
    """One problem of an artifact.

    Attributes:
        rule: the code of the rule.
        name: the name of the rule.
        severity: error, warning or note.
        path: the file, relative to the pack; empty for the artifact as a whole.
        message: the problem; a predicate whose subject is the path.
        hint: how to repair it.
        root: what it comes from.
        fixable: in a rule, whether ``fix`` may repair it; in a `CheckResult` of
            `bundle_fix.pipelines.check`, whether it does.
        evidence: the facts behind the message: strings, numbers, lists and mappings, as in JSON.
        concerns_whole_file: whether it is the only finding of its rule about the file.
    """

    rule: str
    name: str
    severity: Severity
    path: str
    message: str
    hint: str
    root: Root
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fixable: bool = False
    concerns_whole_file: bool = False


SUBJECT_KEYS = (
    "needed", "dlopen", "soname", "entry", "target", "symbol", "versions", "files", "mode",
)  # fmt: skip
"""Keys of the evidence that identify the subject of a finding, in order of preference."""


def get_subject(finding: Finding) -> str:
    """Return the detail of the file that a finding is about, such as a needed name.

    It stays the same from one version of a pack to the next, which a message need not. It is empty
    if the finding is about the whole file.
    """
    if finding.concerns_whole_file:
        return ""
    value = next((finding.evidence[k] for k in SUBJECT_KEYS if k in finding.evidence), None)
    if value is None:
        return finding.message
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple, dict)) else str(value)


def filter_by_severity(findings: Sequence[Finding], severity: Severity) -> list[Finding]:
    """Return the findings that are as bad as ``severity`` or worse."""
    return [finding for finding in findings if finding.severity.is_at_least(severity)]


def is_ignored(finding: Finding, ignores: Iterable[AcceptedFinding]) -> bool:
    """Return whether one of ``ignores`` accepts the finding."""
    return any(i.rule == finding.rule and fnmatchcase(finding.path, i.path) for i in ignores)
