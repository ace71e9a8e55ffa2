"""Causes: the findings of a report grouped by their roots, which every format shows alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bundle_fix.check.findings import Root, RootKind
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.check.rule import Rule
from bundle_fix.model.wording import join_names
from bundle_fix.policy.severity import Severity
from bundle_fix.report.finding_record import FindingRecord

MAX_SEPARATE = 3
"""Roots of one kind, found by one rule, that are causes of their own; more become one cause.

Notes about roots of one kind are always one cause.
"""
TITLES: Mapping[RootKind, tuple[str, str]] = {
    RootKind.LIBRARY: ("{} is missing", "{} libraries are missing"),
    RootKind.HOST_LIBRARY: ("{} is left to the host", "{} libraries are left to the host"),
    RootKind.HOST_COPY: ("the host's {} is loaded", "{} libraries of the host are loaded"),
    RootKind.MISSING_SYMLINK: ("the symlink {} is missing", "{} symlinks are missing"),
    RootKind.SYMLINK: ("the symlink {} is broken", "{} symlinks are broken"),
    RootKind.DIRECTORY: ("the directory {} is not searched", "{} directories are not searched"),
    RootKind.ENTRY: ("the search path entry {}", "{} search path entries"),
    RootKind.BASELINE: (
        "a glibc newer than {} is required", "versions newer than {} baselines are required",
    ),
    RootKind.COPIES: ("several copies: {}", "{} groups of copies"),
}  # fmt: skip
"""The title of a cause with one root, and with several."""


class Cause(Struct, frozen=True):
    """What is wrong at the root, with all findings that come from it.

    Attributes:
        kind: the kind of the root.
        root: the root, such as the name of a missing library; the code of the rule if the findings
            have nothing more in common.
        more_roots: further roots of the same kind with the same problem.
        severity: that of the worst finding.
        rule: the code of the rule of the worst finding.
        name: the name of that rule.
        title: the root in a few words.
        explanation: the worst finding as a sentence.
        fix: what to do.
        findings: the indices of the findings in the report, the worst first.
        fixed: the number of these that ``bundle-fix fix`` repairs.
        fixable: whether ``bundle-fix fix`` repairs all of them, notes aside.
    """

    kind: RootKind
    root: str
    more_roots: tuple[str, ...]
    severity: Severity
    rule: str
    name: str
    title: str
    explanation: str
    fix: str
    findings: tuple[int, ...]
    fixed: int
    fixable: bool


def group_findings(findings: Sequence[FindingRecord]) -> tuple[Cause, ...]:
    """Return the causes of findings, the worst first; each finding belongs to one cause."""
    groups: dict[object, list[int]] = {}
    for index, finding in enumerate(findings):
        groups.setdefault(_find_group(finding), []).append(index)
    for indices in groups.values():
        indices.sort(key=lambda index: findings[index].severity.rank)
    merged = _merge_similar(findings, list(groups.values()))
    causes = [_make_cause(findings, indices) for indices in merged]
    return tuple(sorted(causes, key=_rank_cause))


def _rank_cause(cause: Cause) -> tuple[int, int, int, str, str]:
    kind = list(RootKind).index(cause.kind)
    return cause.severity.rank, kind, -len(cause.findings), cause.rule, cause.root


def _find_group(finding: FindingRecord) -> object:
    """Return what the findings of one cause have in common."""
    if finding.root.kind is RootKind.RULE:
        return finding.rule, finding.severity
    return finding.root


def _merge_similar(
    findings: Sequence[FindingRecord], groups: Sequence[list[int]]
) -> list[list[int]]:
    """Merge the groups of which one rule has many, with roots of one kind."""
    similar: dict[object, list[list[int]]] = {}
    for group in groups:
        worst = findings[group[0]]
        similar.setdefault((worst.root.kind, worst.rule, worst.severity), []).append(group)
    merged: list[list[int]] = []
    for same in similar.values():
        is_note = findings[same[0][0]].severity is Severity.NOTE
        is_few = len(same) <= (1 if is_note else MAX_SEPARATE)
        merged += same if is_few else [[i for group in same for i in group]]
    return merged


def _make_cause(findings: Sequence[FindingRecord], indices: Sequence[int]) -> Cause:
    members = [findings[index] for index in indices]
    worst = min(members, key=lambda f: f.severity.rank)
    rule = RULES_BY_CODE[worst.rule]
    roots = list(dict.fromkeys(f.root for f in members))
    hints = {f.hint for f in members if f.rule == worst.rule}
    problems = [f for f in members if f.severity is not Severity.NOTE] or members
    return Cause(
        worst.root.kind,
        worst.root.name,
        tuple(root.name for root in roots if root != worst.root),
        worst.severity,
        worst.rule,
        worst.name,
        _format_title(roots, rule),
        f"{worst.path} {worst.message}".strip(),
        worst.hint if len(hints) == 1 else rule.fix,
        tuple(indices),
        sum(f.fixable for f in members),
        all(f.fixable for f in problems),
    )


def _format_title(roots: Sequence[Root], rule: Rule) -> str:
    kind = roots[0].kind
    if kind is RootKind.RULE:
        return rule.title.removesuffix(".")
    one, several = TITLES[kind]
    if len(roots) == 1:
        names = roots[0].name.split(", ") if kind is RootKind.COPIES else [roots[0].name]
        return one.format(join_names(names))
    return several.format(len(roots))
