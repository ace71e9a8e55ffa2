"""What a report of a comparison says: the model behind every format of ``diff``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bundle_fix.check.findings import SEVERITIES
from bundle_fix.diff.compare import Difference
from bundle_fix.diff.members import ChangedMember, UnmatchedMember
from bundle_fix.loader.objects import Mapped
from bundle_fix.report.check_report import CheckReport, FindingRecord, Tool, make_finding_record

SCHEMA = 1
"""Version of the report's layout; it grows when a reader of the old one would stumble."""


class ResolvedFileRecord(msgspec.Struct, frozen=True):
    """Where a needed name leads: ``path`` is relative to the pack for origin ``bundle``."""

    origin: str
    path: str | None
    via: str


class ResolutionRecord(msgspec.Struct, frozen=True):
    """One needed name of one object that leads elsewhere than it did.

    ``worse`` tells that a finding is about it. ``old_needed`` is the name that was needed before.
    """

    needed: str
    old_needed: str
    needed_by: str
    programs: tuple[str, ...]
    old: ResolvedFileRecord
    new: ResolvedFileRecord
    worse: bool


class ChangeRecord(msgspec.Struct, frozen=True):
    """One thing about a member that is not what it was.

    ``attribute`` is ``path``, ``kind``, ``target``, ``mode`` (octal), ``size`` (bytes), ``content``
    (neither value is given), ``machine``, ``type``, ``interpreter``, ``soname``, ``needed``,
    ``rpath``, ``runpath``, ``build-id``, ``wants`` (versions with their libraries), ``offers``
    (versions), or ``symbols`` (those that were lost and those that are new).
    """

    attribute: str
    old: str | int | tuple[str, ...] | None
    new: str | int | tuple[str, ...] | None


class ChangedMemberRecord(msgspec.Struct, frozen=True):
    """A member that changed; ``old_path`` is its path in the old artifact."""

    path: str
    old_path: str
    kind: str
    soname: str
    changes: tuple[ChangeRecord, ...]


class MemberRecord(msgspec.Struct, frozen=True):
    """A member that one artifact alone has; ``size`` is in bytes, ``target`` a link's text."""

    path: str
    kind: str
    size: int
    target: str


class MemberChangesRecord(msgspec.Struct, frozen=True):
    """All members; ``same`` counts those that did not change."""

    same: int
    added: tuple[MemberRecord, ...]
    removed: tuple[MemberRecord, ...]
    changed: tuple[ChangedMemberRecord, ...]


class RequiredVersionRecord(msgspec.Struct, frozen=True):
    """The newest version of a family, such as ``2.34``, that each artifact wants; null for none.

    ``path`` is a file of the new artifact that wants ``new``.
    """

    old: str | None
    new: str | None
    path: str | None


class DiffReport(msgspec.Struct, frozen=True):
    """The report on two artifacts.

    Attributes:
        schema: the version of this layout.
        old: the old artifact, as the user named it.
        new: the new one.
        tool: what made the report.
        summary: how many findings there are of each severity.
        findings: what got worse, the worst first.
        fixed: what a check finds in the old artifact and not in the new one.
        resolutions: the needed names that lead elsewhere.
        members: the files, links and folders.
        required_versions: by family (``GLIBC``), the newest versions wanted.
        failed: whether anything got worse, as far as the user minds.
        ignored: how many findings the user accepts.
        seconds: how long the comparison took.
    """

    schema: int
    old: str
    new: str
    tool: Tool
    summary: Mapping[str, int]
    findings: tuple[FindingRecord, ...]
    fixed: tuple[FindingRecord, ...]
    resolutions: tuple[ResolutionRecord, ...]
    members: MemberChangesRecord
    required_versions: Mapping[str, RequiredVersionRecord]
    failed: bool
    ignored: int
    seconds: float


def make_diff_report(old: str, new: str, difference: Difference, seconds: float) -> DiffReport:
    """The report on two artifacts, named as the user named them."""
    members = difference.members
    return DiffReport(
        SCHEMA, old, new, Tool(),
        summary={s: sum(f.severity == s for f in difference.findings) for s in SEVERITIES},
        findings=tuple(map(make_finding_record, difference.findings)),
        fixed=tuple(map(make_finding_record, difference.fixed)),
        resolutions=tuple(
            ResolutionRecord(
                r.needed, r.old_needed, r.needed_by, r.programs, _end(r.old), _end(r.new),
                worse=r.rule is not None,
            )
            for r in difference.resolutions
        ),
        members=MemberChangesRecord(
            members.same, tuple(map(_lone, members.added)), tuple(map(_lone, members.removed)),
            tuple(map(_changed, members.changed)),
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


def _end(mapped: Mapped) -> ResolvedFileRecord:
    return ResolvedFileRecord(mapped.origin, mapped.path, mapped.via)


def _lone(member: UnmatchedMember) -> MemberRecord:
    return MemberRecord(member.path, member.kind, member.size, member.target)


def _changed(altered: ChangedMember) -> ChangedMemberRecord:
    changes = tuple(ChangeRecord(c.attribute, c.old, c.new) for c in altered.changes)
    return ChangedMemberRecord(
        altered.path, altered.old_path, altered.kind, altered.soname, changes
    )


def convert_to_check_report(report: DiffReport) -> CheckReport:
    """What got worse as a report of a check of the new artifact, for formats that know no more."""
    return CheckReport(
        report.schema, report.new, report.tool, report.summary, report.findings, report.failed,
        report.ignored, seconds=report.seconds,
    )  # fmt: skip
