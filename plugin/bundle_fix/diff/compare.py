"""Compares two artifacts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.check.checker import OF_DIFFERENCES, covers
from bundle_fix.check.facts.abi import Newest
from bundle_fix.check.findings import Finding, filter_by_severity, get_subject
from bundle_fix.check.rules.differences import GONE
from bundle_fix.diff.matching import FileMatches, match_files, strip_version_numbers
from bundle_fix.diff.members import MemberComparison, compare_members
from bundle_fix.diff.removed_symbols import find_removed_symbols
from bundle_fix.diff.resolution import ResolutionChange, compare_resolutions, find_worse_resolutions
from bundle_fix.diff.runtime import find_newer_runtime
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.policy.policy import Ignore
from bundle_fix.policy.severity import Severity

TOLD_BETTER = frozenset({"BF101", "BF102", "BF110"})
"""Rules of a check that say of one pack what a change of a need says of both."""

OF_THE_WHOLE = frozenset({"BF110"})
"""Rules whose findings are about the pack, whichever file stands for it."""


class Difference(Struct, frozen=True):
    """What is different between two artifacts.

    Attributes:
        findings: what got worse: the changes that BF7xx tell, and what a check finds in the new
            artifact alone; the worst first.
        fixed: what a check finds in the old artifact alone.
        resolutions: the needed names that lead elsewhere.
        members: the files, links and folders.
        required_versions: the newest version of each family that each artifact wants of the host.
        ignored: how many findings the user accepts.
        failed: whether anything got worse, as far as the user minds.
    """

    findings: tuple[Finding, ...]
    fixed: tuple[Finding, ...]
    resolutions: tuple[ResolutionChange, ...]
    members: MemberComparison
    required_versions: Mapping[str, tuple[Newest | None, Newest | None]]
    ignored: int
    failed: bool


def compare_snapshots(old: Snapshot, new: Snapshot, ignores: Sequence[Ignore]) -> Difference:
    """What is different between two artifacts.

    Args:
        old: the old one; its contents must be open.
        new: the new one, likewise.
        ignores: what the user accepts; the policy of the two have none.

    Raises:
        BundleFixError: a file in one of them is damaged.
    """
    pairs = match_files(old, new)
    needs = compare_resolutions(old, new, pairs)
    members = compare_members(old, new, pairs)
    wanted = old.verdict.abi.versions, new.verdict.abi.versions
    policy = new.context.policy
    worse = [
        *find_worse_resolutions(old, new, needs),
        *find_removed_symbols(old, new, members.changed),
        *find_newer_runtime(old, new),
        *_gone(old, new, members),
    ]
    known = {(f.path, f.evidence.get("needed")) for f in worse if "needed" in f.evidence}
    found, fixed = _found_by_checks(old, new, pairs)
    worse += [
        f
        for f in found
        if f.rule not in TOLD_BETTER or (f.path, f.evidence.get("needed")) not in known
    ]
    kept = [f for f in worse if not _is_ignored(f, ignores)]
    kept.sort(key=_order)
    families = dict.fromkeys((*wanted[0], *wanted[1]))
    return Difference(
        findings=tuple(kept),
        fixed=tuple(f for f in fixed if not _is_ignored(f, ignores)),
        resolutions=needs,
        members=members,
        required_versions={
            family: (wanted[0].get(family), wanted[1].get(family)) for family in families
        },
        ignored=len(worse) - len(kept),
        failed=bool(filter_by_severity(kept, policy.fail_on)),
    )


def _order(finding: Finding) -> tuple[int, bool, str, str, str]:
    """The worst first; of the same severity what a comparison tells before what checks find."""
    is_check = not finding.rule.startswith(OF_DIFFERENCES)
    worst = finding.severity.rank
    return worst, is_check, finding.rule, finding.path, finding.message


def _is_ignored(finding: Finding, ignores: Sequence[Ignore]) -> bool:
    return any(covers(ignore, finding) for ignore in ignores)


def _found_by_checks(
    old: Snapshot, new: Snapshot, pairs: FileMatches
) -> tuple[list[Finding], list[Finding]]:
    """What a check finds in the new pack alone, or finds worse there, and in the old one alone."""
    before = {
        _identity(f, pairs.new_of.get(f.path, pairs.translate_path(f.path))): f
        for f in old.findings()
    }
    after = {_identity(f, f.path): f for f in new.findings()}
    found = [
        f
        for key, f in after.items()
        if key not in before
        or f.severity.rank < before[key].severity.rank
    ]
    return found, [f for key, f in before.items() if key not in after]


def _identity(finding: Finding, path: str) -> tuple[str, str, str]:
    # What it is about may be a name with a version or a hash in it; a change of that is told by
    # what the name leads to.
    place = "" if finding.rule in OF_THE_WHOLE else path
    return finding.rule, place, strip_version_numbers(get_subject(finding))


def _gone(old: Snapshot, new: Snapshot, members: MemberComparison) -> Iterator[Finding]:
    for member in members.removed:
        image = old.bundle.images.get(member.path)
        if image is None or not (image.is_program or image.is_library):
            continue
        name = image.soname or posixpath.basename(member.path)
        if image.is_library and name in new.bundle.named:
            continue
        what = "program" if image.is_program else f"library {name}"
        yield GONE.make_finding(member.path, f"is gone: the new pack has no such {what}", soname=name)
