"""Model of the report on a comparison, from which every format of ``diff`` is rendered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bundle_fix.diff.attributes import Attribute, ChangedMember, MemberKind
from bundle_fix.diff.compare import Difference
from bundle_fix.diff.members import UnmatchedMember
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause, group_findings
from bundle_fix.report.check_report import CheckReport, Tool
from bundle_fix.report.finding_record import FindingRecord, make_finding_record

SCHEMA = 1
"""Version of the layout; it is raised when an existing reader would misread the new one."""


class ResolvedFileRecord(msgspec.Struct, frozen=True):
    """The file that a needed name resolves to.

    ``path`` is relative to the pack if ``origin`` is ``bundle``; ``via`` is the search rule.
    """

    origin: ObjectOrigin
    path: str | None
    via: SearchRule


class ResolutionRecord(msgspec.Struct, frozen=True):
    """One needed name of one object that resolves to another file than before.

    ``old_needed`` is the name in the old artifact. ``worse`` is true if there is a finding for it.
    """

    needed: str
    old_needed: str
    needed_by: str
    programs: tuple[str, ...]
    old: ResolvedFileRecord
    new: ResolvedFileRecord
    worse: bool


class ChangeRecord(msgspec.Struct, frozen=True):
    """One changed attribute of a member, with its old and new value.

    ``mode`` is octal, ``size`` is in bytes, ``content`` has no values. ``requires`` lists symbol
    versions with their libraries, ``provides`` symbol versions. ``symbols`` has the removed symbols
    as the old value and the added symbols as the new one.
    """

    attribute: Attribute
    old: str | int | tuple[str, ...] | None
    new: str | int | tuple[str, ...] | None


class ChangedMemberRecord(msgspec.Struct, frozen=True):
    """A member that changed; ``old_path`` is its path in the old artifact."""

    path: str
    old_path: str
    kind: MemberKind
    soname: str
    changes: tuple[ChangeRecord, ...]


class MemberRecord(msgspec.Struct, frozen=True):
    """A member that is in one artifact only; ``size`` is in bytes, ``target`` is a symlink's."""

    path: str
    kind: MemberKind
    size: int
    target: str


class MemberChangesRecord(msgspec.Struct, frozen=True):
    """All members; ``same`` is the number of unchanged ones."""

    same: int
    added: tuple[MemberRecord, ...]
    removed: tuple[MemberRecord, ...]
    changed: tuple[ChangedMemberRecord, ...]


class RequiredVersionRecord(msgspec.Struct, frozen=True):
    """The newest version of a family, such as ``2.34``, required by each artifact; null for none.

    ``path`` is a file of the new artifact that requires ``new``.
    """

    old: str | None
    new: str | None
    path: str | None


class DiffReport(msgspec.Struct, frozen=True):
    """The report on two artifacts.

    Attributes:
        schema: the version of this layout.
        old: path of the old artifact, as given by the user.
        new: path of the new artifact, as given by the user.
        tool: the tool that made the report.
        summary: number of findings of each severity.
        findings: regressions, most severe first.
        causes: the regressions grouped by what is wrong at the root, most severe first.
        fixed: findings of a check in the old artifact that are not in the new one.
        resolutions: needed names that resolve to another file than before.
        members: changes in the files, symlinks and directories.
        required_versions: by family (``GLIBC``), the newest versions required.
        failed: whether a finding is at or above ``--fail-on``.
        ignored: number of findings accepted by the user.
        seconds: duration of the comparison.
    """

    schema: int
    old: str
    new: str
    tool: Tool
    summary: Mapping[str, int]
    findings: tuple[FindingRecord, ...]
    causes: tuple[Cause, ...]
    fixed: tuple[FindingRecord, ...]
    resolutions: tuple[ResolutionRecord, ...]
    members: MemberChangesRecord
    required_versions: Mapping[str, RequiredVersionRecord]
    failed: bool
    ignored: int
    seconds: float


def make_diff_report(old: str, new: str, difference: Difference, seconds: float) -> DiffReport:
    """Return the report on two artifacts; ``old`` and ``new`` are paths as given by the user."""
    members = difference.members
    findings = tuple(map(make_finding_record, difference.findings))
    return DiffReport(
        SCHEMA, old, new, Tool(),
        summary={s.value: sum(f.severity == s for f in difference.findings) for s in Severity},
        findings=findings,
        causes=group_findings(findings),
        fixed=tuple(map(make_finding_record, difference.fixed)),
        resolutions=tuple(
            ResolutionRecord(
                r.needed, r.old_needed, r.needed_by, r.programs, _make_resolved_record(r.old),
                _make_resolved_record(r.new), worse=r.rule is not None,
            )
            for r in difference.resolutions
        ),
        members=MemberChangesRecord(
            members.same, tuple(map(_make_member_record, members.added)),
            tuple(map(_make_member_record, members.removed)),
            tuple(map(_make_changed_record, members.changed)),
        ),
        required_versions={
            family: RequiredVersionRecord(
                before.version if before else None, after.version if after else None,
                after.path if after else None,
            )
            for family, (before, after) in difference.required_versions.items()
        },
        failed=difference.failed, ignored=difference.ignored, seconds=round(seconds, 3),
    )  # fmt: skip


def _make_resolved_record(mapped: LoadedObject) -> ResolvedFileRecord:
    return ResolvedFileRecord(mapped.origin, mapped.path, mapped.via)


def _make_member_record(member: UnmatchedMember) -> MemberRecord:
    return MemberRecord(member.path, member.kind, member.size, member.target)


def _make_changed_record(changed: ChangedMember) -> ChangedMemberRecord:
    changes = tuple(ChangeRecord(c.attribute, c.old, c.new) for c in changed.changes)
    return ChangedMemberRecord(
        changed.path, changed.old_path, changed.kind, changed.soname, changes
    )


def convert_to_check_report(report: DiffReport) -> CheckReport:
    """Return the regressions as a check report on the new artifact, for formats without diffs."""
    return CheckReport(
        report.schema, report.new, report.tool, report.summary, report.findings, report.causes,
        failed=report.failed, ignored=report.ignored, seconds=report.seconds,
    )  # fmt: skip
