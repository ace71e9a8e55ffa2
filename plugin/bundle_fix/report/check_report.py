"""Model of the report on a check, from which every format is rendered."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bundle_fix import __version__
from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause, group_findings
from bundle_fix.report.finding_record import (
    FindingRecord,
    compute_fingerprint,
    make_finding_record,
)

SCHEMA = 1
"""Version of the layout; it is raised when an existing reader would misread the new one."""


class Tool(msgspec.Struct, frozen=True):
    """The tool that made the report."""

    name: str = "bundle-fix"
    version: str = __version__


class RuleText(msgspec.Struct, frozen=True):
    """The explanation of a rule, independent of its findings."""

    code: str
    name: str
    severity: Severity
    title: str
    why: str
    fix: str
    example: str
    scope: RuleScope
    fixable: bool = False

    @property
    def advice(self) -> str:
        """How to repair a finding, with the command that does it if there is one."""
        return f"{self.fix} 'bundle-fix fix' does so where possible." if self.fixable else self.fix


def describe_rules(rules: Iterable[Rule]) -> dict[str, RuleText]:
    """Return the explanations of rules, by code."""
    return {
        r.code: RuleText(
            r.code,
            r.name,
            r.severity,
            r.title,
            r.why,
            r.fix,
            r.example,
            r.scope,
            r.repair is not None,
        )
        for r in sorted(rules, key=lambda rule: rule.code)
    }


class Remedy(msgspec.Struct, frozen=True):
    """The command that repairs errors and warnings.

    ``fixed`` is the number of errors and warnings that it repairs, of ``problems`` in all. With
    ``needs_force``, the command contains ``--force``: the check of its result still fails.
    """

    command: str
    fixed: int
    problems: int
    needs_force: bool


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The report on one artifact.

    Attributes:
        schema: the version of this layout.
        artifact: its path, as given by the user.
        tool: the tool that made the report.
        summary: number of findings of each severity.
        findings: the findings, most severe first.
        causes: the findings grouped by what is wrong at the root, most severe first.
        remedy: the command that repairs findings, if there is one.
        failed: whether a finding is at or above ``--fail-on``, or the artifact is unreadable.
        ignored: number of findings accepted by the user, with an ignore or a baseline.
        programs: number of programs in the artifact.
        libraries: number of shared libraries in the artifact.
        error: the reason why the artifact could not be checked, in one line.
        abi: the symbol versions and processor levels required of the target.
        seconds: duration of the check.
    """

    schema: int
    artifact: str
    tool: Tool
    summary: Mapping[str, int]
    findings: tuple[FindingRecord, ...]
    causes: tuple[Cause, ...] = ()
    remedy: Remedy | None = None
    failed: bool = False
    ignored: int = 0
    programs: int = 0
    libraries: int = 0
    error: str = ""
    abi: Abi | None = None
    seconds: float = 0.0

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that identify an artifact that could not be checked."""
        return compute_fingerprint("unreadable", os.path.basename(self.artifact))  # noqa: PTH119


def make_check_report(
    artifact: str, verdict: CheckResult, seconds: float = 0.0, fix_options: Sequence[str] = ()
) -> CheckReport:
    """Return the report of ``verdict`` on ``artifact``, the path as given by the user.

    ``fix_options`` are the options that ``bundle-fix fix`` needs for the same check.
    """
    records = tuple(map(make_finding_record, verdict.findings))
    return CheckReport(
        SCHEMA, artifact, Tool(), verdict.summary, records, group_findings(records),
        _make_remedy(artifact, records, fix_options, needs_force=verdict.fails_after_fix),
        verdict.failed, verdict.ignored, verdict.programs, verdict.libraries, abi=verdict.abi,
        seconds=round(seconds, 3),
    )  # fmt: skip


def _make_remedy(
    artifact: str, findings: Iterable[FindingRecord], options: Sequence[str], *, needs_force: bool
) -> Remedy | None:
    problems = [f for f in findings if f.severity is not Severity.NOTE]
    fixed = sum(f.fixable for f in problems)
    if not fixed:
        return None
    # A path that begins with a hyphen would be read as an option.
    path = f"./{artifact}" if artifact.startswith("-") else artifact
    words = ["bundle-fix", "fix", *options, *(["--force"] if needs_force else ()), path]
    return Remedy(shlex.join(words), fixed, len(problems), needs_force)


def replace_findings(report: CheckReport, findings: tuple[FindingRecord, ...]) -> CheckReport:
    """Return a report with other findings, and with the causes and the counts of these."""
    problems = [f for f in findings if f.severity is not Severity.NOTE]
    fixed, remedy = sum(f.fixable for f in problems), report.remedy
    if remedy is not None:
        counted = msgspec.structs.replace(remedy, fixed=fixed, problems=len(problems))
        remedy = counted if fixed else None
    return msgspec.structs.replace(
        report, findings=findings, causes=group_findings(findings), remedy=remedy,
        summary={s.value: sum(f.severity == s for f in findings) for s in Severity},
    )  # fmt: skip


def forget_fix(report: CheckReport) -> CheckReport:
    """Return the report of a repaired artifact: what is left is nothing that `fix` repairs."""
    findings = tuple(msgspec.structs.replace(f, fixable=False) for f in report.findings)
    return replace_findings(report, findings)


def make_error_report(artifact: str, error: str) -> CheckReport:
    """Return the report on an artifact that could not be checked."""
    summary = dict.fromkeys((s.value for s in Severity), 0)
    return CheckReport(SCHEMA, artifact, Tool(), summary, (), failed=True, error=error)


def strip_findings(report: CheckReport) -> CheckReport:
    """Return a report without its findings, enough for a total and an exit code."""
    return msgspec.structs.replace(report, findings=(), causes=(), abi=None)
