"""Compare two artifacts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.check.facts.abi import NewestVersion
from bundle_fix.check.findings import Finding, filter_by_severity, get_subject, is_ignored
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.check.rule import RuleScope
from bundle_fix.check.rules.differences import REMOVED_FILE
from bundle_fix.diff.matching import FileMatches, match_files
from bundle_fix.diff.members import MemberComparison, compare_members
from bundle_fix.diff.removed_symbols import find_removed_symbols
from bundle_fix.diff.resolution import ResolutionChange, compare_resolutions, find_worse_resolutions
from bundle_fix.diff.runtime import find_newer_runtime
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.scan.build_paths import BUILD_DIRECTORIES
from bundle_fix.model.library_names import NAME_HASH, strip_version_numbers
from bundle_fix.policy.policy import AcceptedFinding

FindingKey = tuple[str, str, str]
"""The rule, path and subject of a finding."""
BUILD_PATH = re.compile(rf"/(?:{'|'.join(d.decode() for d in BUILD_DIRECTORIES)})[^\s:,]*")
"""A path of a build machine; builds often create a directory with a random name."""


class Difference(Struct, frozen=True):
    """The differences between two artifacts.

    Attributes:
        findings: regressions, most severe first: the findings of BF7xx, and the findings of a check
            that only the new artifact has.
        fixed: the findings of a check that only the old artifact has.
        resolutions: needed names that resolve to another file than before.
        members: changes in the files, symlinks and directories.
        required_versions: by family, the newest version that each artifact requires of the host.
        ignored: number of findings accepted by the user.
        failed: whether a finding is at or above ``--fail-on``.
    """

    findings: tuple[Finding, ...]
    fixed: tuple[Finding, ...]
    resolutions: tuple[ResolutionChange, ...]
    members: MemberComparison
    required_versions: Mapping[str, tuple[NewestVersion | None, NewestVersion | None]]
    ignored: int
    failed: bool


def compare_snapshots(
    old: Snapshot, new: Snapshot, ignores: Sequence[AcceptedFinding]
) -> Difference:
    """Compare two artifacts.

    Args:
        old: the old artifact; its contents must be open.
        new: the new artifact; its contents must be open.
        ignores: findings accepted by the user. The policies of the artifacts must have none, so
            that a finding ignored in both is not reported as new or fixed.

    Raises:
        BundleFixError: a file of an artifact is damaged.
    """
    matches = match_files(old, new)
    resolutions = compare_resolutions(old, new, matches)
    members = compare_members(old, new, matches)
    old_versions, new_versions = old.check_result.abi.versions, new.check_result.abi.versions
    policy = new.context.policy
    findings = [
        *find_worse_resolutions(old, new, resolutions),
        *find_removed_symbols(old, new, members.changed),
        *find_newer_runtime(old, new),
        *_find_removed_objects(old, new, members),
    ]
    # A BF7xx finding replaces the finding of a check about the same needed name.
    reported = {(f.path, f.evidence.get("needed")) for f in findings if "needed" in f.evidence}
    added, fixed = _compare_checks(old, new, matches)
    findings += [
        f
        for f in added
        if not RULES_BY_CODE[f.rule].has_diff_rule
        or (f.path, f.evidence.get("needed")) not in reported
    ]
    remaining = [f for f in findings if not is_ignored(f, ignores)]
    remaining.sort(key=_make_sort_key)
    families = dict.fromkeys((*old_versions, *new_versions))
    return Difference(
        findings=tuple(remaining),
        fixed=tuple(f for f in fixed if not is_ignored(f, ignores)),
        resolutions=resolutions,
        members=members,
        required_versions={
            family: (old_versions.get(family), new_versions.get(family)) for family in families
        },
        ignored=len(findings) - len(remaining),
        failed=bool(filter_by_severity(remaining, policy.fail_on)),
    )


def _make_sort_key(finding: Finding) -> tuple[int, bool, str, str, str]:
    """Return the sort key: by severity, then findings of the comparison before those of checks."""
    is_check = RULES_BY_CODE[finding.rule].scope is RuleScope.CHECK
    return finding.severity.rank, is_check, finding.rule, finding.path, finding.message


def _compare_checks(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that are new or more severe in the new pack, and those that are gone."""
    before = {
        _make_key(f, matches.new_of.get(f.path, matches.translate_path(f.path))): f
        for f in old.list_findings()
    }
    after = {_make_key(f, f.path): f for f in new.list_findings()}
    added = {
        key: f
        for key, f in after.items()
        if key not in before or f.severity.rank < before[key].severity.rank
    }
    fixed = {key: f for key, f in before.items() if key not in after}
    by_pattern = {_hide_build_paths(key): key for key in fixed}
    for key, finding in list(added.items()):
        counterpart = by_pattern.get(_hide_build_paths(key))
        if counterpart in fixed and finding.severity.rank >= fixed[counterpart].severity.rank:
            del added[key], fixed[counterpart]
    return list(added.values()), list(fixed.values())


def _hide_build_paths(key: FindingKey) -> FindingKey:
    return (*key[:2], BUILD_PATH.sub("#", key[2]))


def _make_key(finding: Finding, path: str) -> FindingKey:
    # The subject may be a name with a version or a hash. A change of these alone is not a new
    # finding: compare_resolutions() reports it if the name resolves to another file.
    location = "" if RULES_BY_CODE[finding.rule].concerns_whole_pack else path
    return finding.rule, location, strip_version_numbers(get_subject(finding))


def _find_removed_objects(
    old: Snapshot, new: Snapshot, members: MemberComparison
) -> Iterator[Finding]:
    for member in members.removed:
        image = old.bundle.images.get(member.path)
        if image is None or not (image.is_program or image.is_library):
            continue
        name = image.soname or posixpath.basename(member.path)
        if image.is_library and _is_still_found(name, new):
            continue
        missing = "program at this path" if image.is_program else f"library {name}"
        message = f"has been removed; the new pack has no {missing}"
        yield REMOVED_FILE.make_finding(member.path, message, soname=name)
    for change in members.changed:
        soname = change.find_change("soname")
        if soname is None or not isinstance(soname.old, str) or _is_still_found(soname.old, new):
            continue
        now = f"the soname {soname.new}" if soname.new else "no soname"
        message = f"has {now}; the new pack has no library {soname.old}"
        yield REMOVED_FILE.make_finding(change.path, message, soname=soname.old)


def _is_still_found(name: str, new: Snapshot) -> bool:
    """Return whether the new pack has a library of this name, or nothing outside uses the name.

    Only the wheel itself knows the names of the libraries that auditwheel put into it.
    """
    return name in new.bundle.paths_by_name or NAME_HASH.search(name) is not None
