"""One finding for each problem: findings with the same cause are merged."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec.structs import replace

from bundle_fix.check.findings import Finding, RootKind, get_subject
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.check.wording import join_names
from bundle_fix.loader.bundle import Bundle
from bundle_fix.plan.naming.copies import group_identical_files
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

NOT_FOUND, HOST_WINS = "BF101", "BF102"
UNRESOLVED = (NOT_FOUND, HOST_WINS)
"""Rules about a needed name; the missing symlink or RUNPATH is the cause of their findings."""
MISSING_SYMLINK, MISSING_RUNPATH = "BF103", "BF201"
BROKEN_SYMLINKS = ("BF104", "BF105")
TEXT_SYMLINK = "BF607"
MAX_OTHERS = 3
"""Copies, objects or names that a message lists."""


def merge_findings(bundle: Bundle, findings: Sequence[Finding]) -> list[Finding]:
    """Return one finding for each problem, in order; each asks for the repairs of all it replaces.

    Args:
        bundle: the bundle that the findings are about.
        findings: the findings that the policy does not accept.
    """
    named = _merge_names(_merge_causes(_merge_broken_symlinks(findings)))
    merged = _merge_objects(_share_roots(named))
    return merged if bundle.tree.keeps_symlinks else _merge_copies(bundle, merged)


def _merge_broken_symlinks(findings: Sequence[Finding]) -> list[Finding]:
    """Merge a broken symlink, or a text file in place of one, with the findings about its name."""
    results: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.rule in UNRESOLVED:
            results.setdefault(posixpath.basename(finding.evidence["needed"]), []).append(finding)
    merged: dict[int, Finding] = {}
    dropped: set[int] = set()
    for symlink in findings:
        named = results.get(posixpath.basename(symlink.path), ())
        is_text = symlink.rule == TEXT_SYMLINK
        same = [f for f in named if is_text or (f.rule == NOT_FOUND and not f.fixable)]
        if (is_text or symlink.rule in BROKEN_SYMLINKS) and same:
            needed_by = join_names([f.path for f in same], MAX_OTHERS)
            message = f"{symlink.message}; needed by {needed_by}"
            worst = min((f.severity for f in same), key=lambda severity: severity.rank)
            finding = replace(symlink, message=message, severity=worst)
            merged[id(symlink)] = _add_evidence(finding, needed_by=[f.path for f in same])
            dropped.update(map(id, same))
    return [merged.get(id(f), f) for f in findings if id(f) not in dropped]


def _merge_causes(findings: Sequence[Finding]) -> list[Finding]:
    """Merge a missing symlink or RUNPATH with the names that are not found because of it."""
    by_name, by_path = _index_results(findings)
    also_needed: dict[int, list[str]] = {}
    causes: dict[int, list[Finding]] = {}
    dropped: set[int] = set()
    for cause in findings:
        if cause.rule in BROKEN_SYMLINKS:
            names = [posixpath.basename(cause.path)]
            same = by_name.get(names[0], [])
        elif cause.rule == MISSING_SYMLINK:
            names = [cause.evidence["soname"]]
            # The name may also be that of a library for another machine.
            same = [
                f
                for f in by_name.get(names[0], ())
                if cause.path in f.evidence.get("provided", [cause.path])
            ]
        elif cause.rule == MISSING_RUNPATH:
            names = cause.evidence["needed"]
            same = [f for f in by_path.get(cause.path, ()) if f.evidence["needed"] in names]
        else:
            continue
        worst = min(same, key=lambda f: f.severity.rank, default=None)
        if worst is None:
            continue
        found = {posixpath.basename(f.evidence["needed"]) for f in same}
        others = [name for name in names if name not in found]
        # The severity of a result says what the problem causes.
        if not others or worst.severity.is_at_least(cause.severity):
            dropped.add(id(cause))
            also_needed.setdefault(id(worst), []).extend(others)
            for result in same:
                causes.setdefault(id(result), []).append(cause)
        elif worst.severity is Severity.NOTE:
            dropped.update(map(id, same))
    return [
        _add_causes(f, causes.get(id(f), ()), also_needed.get(id(f)))
        for f in findings
        if id(f) not in dropped
    ]


def _add_causes(
    result: Finding, causes: Sequence[Finding], also_needed: list[str] | None
) -> Finding:
    """Return a finding with the causes that were merged with it; a symlink becomes its root."""
    root = next((cause.root for cause in causes if cause.rule != MISSING_RUNPATH), result.root)
    codes = sorted(cause.rule for cause in causes)
    return _add_evidence(replace(result, root=root), causes=codes, also_needed=also_needed)


def _merge_names(findings: Sequence[Finding]) -> list[Finding]:
    """Merge the names that an object does not find because of its search path."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        causes = finding.evidence.get("causes", [])
        is_own = finding.rule not in UNRESOLVED or not finding.fixable
        is_own = is_own or causes not in ([], [MISSING_RUNPATH])
        key = (finding.rule, finding.severity, finding.path, finding.hint)
        groups.setdefault(id(finding) if is_own else key, []).append(finding)
    return [_merge_needed(group) for group in groups.values()]


def _merge_needed(group: Sequence[Finding]) -> Finding:
    """Return one finding for several names; its evidence lists the others."""
    first, *others = group
    if not others:
        return first
    names = [finding.evidence["needed"] for finding in others]
    also_needed = (name for f in group for name in f.evidence.get("also_needed", ()))
    message = f"{first.message} (like {join_names(names, MAX_OTHERS)})"
    needed = list(dict.fromkeys([*names, *also_needed]))
    return _add_evidence(replace(first, message=message), also_needed=needed)


def _share_roots(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings; those about a host's copy get the root of why it is loaded."""
    roots = {
        name: finding.root
        for finding in findings
        if finding.rule == HOST_WINS
        for name in (finding.evidence["needed"], *finding.evidence.get("also_needed", ()))
    }
    return [
        replace(f, root=roots.get(f.root.name, f.root)) if f.root.kind is RootKind.HOST_COPY else f
        for f in findings
    ]


def _merge_objects(findings: Sequence[Finding]) -> list[Finding]:
    """Merge the findings about one missing library, which several objects need."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        is_own = finding.rule != NOT_FOUND or finding.fixable
        groups.setdefault(id(finding) if is_own else finding.message, []).append(finding)
    return [_merge_group(group, "objects") for group in groups.values()]


def _index_results(
    findings: Sequence[Finding],
) -> tuple[dict[str, list[Finding]], dict[str, list[Finding]]]:
    """Return the findings about needed names by the last part of the name, and by the object."""
    by_name: dict[str, list[Finding]] = {}
    by_path: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.rule in UNRESOLVED and finding.fixable:
            name = posixpath.basename(finding.evidence["needed"])
            by_name.setdefault(name, []).append(finding)
            by_path.setdefault(finding.path, []).append(finding)
    return by_name, by_path


def _merge_copies(bundle: Bundle, findings: Sequence[Finding]) -> list[Finding]:
    """Merge the same findings about identical files, which were symlinks to one file once."""
    first_copies = _find_first_copies(bundle, dict.fromkeys(f.path for f in findings))
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        first = first_copies.get(finding.path)
        # Each copy lacks another symlink.
        is_own = first is None or RULES_BY_CODE[finding.rule].repair is RepairKind.ADD_SONAME
        key = (finding.rule, finding.severity, get_subject(finding), finding.message, first)
        groups.setdefault(id(finding) if is_own else key, []).append(finding)
    return [_merge_group(group, "copies") for group in groups.values()]


def _find_first_copies(bundle: Bundle, paths: Iterable[str]) -> dict[str, str]:
    """Return the first path with the same bytes for each of ``paths`` that is an ELF file."""
    by_size: dict[int, list[str]] = {}
    for path in paths:
        if path in bundle.images:
            by_size.setdefault(bundle.images[path].size, []).append(path)
    return {
        path: group[0]
        for same_size in by_size.values()
        for group in group_identical_files(bundle, same_size)
        for path in group
    }


def _merge_group(group: Sequence[Finding], kind: Literal["objects", "copies"]) -> Finding:
    """Return one finding for several files; its evidence lists the others under ``kind``."""
    first = group[0]
    others = list(dict.fromkeys(f.path for f in group if f.path != first.path))
    if not others:
        return first
    kinds = "its identical copies: " if kind == "copies" else ""
    message = f"{first.message} (like {kinds}{join_names(others, MAX_OTHERS)})"
    return _add_evidence(replace(first, message=message), **{kind: others})


def _add_evidence(finding: Finding, **evidence: list[str] | None) -> Finding:
    """Return a finding with more evidence, without empty lists."""
    more = {key: value for key, value in evidence.items() if value}
    return replace(finding, evidence={**finding.evidence, **more}) if more else finding
