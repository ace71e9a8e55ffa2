"""Model of the report on a check, from which every format is rendered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bundle_fix import __version__
from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.findings import Finding, get_subject
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.policy.severity import Severity

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
        return _add_command(self.fix, self.fixable)


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


def _add_command(text: str, fixable: bool) -> str:
    return f"{text} 'bundle-fix fix' does so where possible." if fixable else text


class FindingRecord(msgspec.Struct, frozen=True):
    """One finding; ``path`` is relative to the pack.

    ``subject`` is the detail of the file that the finding is about, such as a needed name.
    Rule, path and subject identify a finding, also in the next version of a pack. ``fixable`` is
    true if `bundle-fix fix` repairs it, where the pack allows it.
    """

    rule: str
    name: str
    severity: Severity
    path: str
    message: str
    hint: str
    evidence: Mapping[str, Any]
    subject: str = ""
    fixable: bool = False

    @property
    def advice(self) -> str:
        """The hint, with the command that follows it if there is one."""
        return _add_command(self.hint, self.fixable)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, the same for the same finding in two versions of a pack."""
        return _compute_fingerprint(self.rule, self.path, self.subject)


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The report on one artifact.

    Attributes:
        schema: the version of this layout.
        artifact: its path, as given by the user.
        tool: the tool that made the report.
        summary: number of findings of each severity.
        findings: the findings, most severe first.
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
        return _compute_fingerprint("unreadable", os.path.basename(self.artifact))  # noqa: PTH119


def _compute_fingerprint(*parts: str) -> str:
    # Imported here because hashlib loads OpenSSL, which a report without findings does not need.
    import hashlib

    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def make_check_report(artifact: str, verdict: CheckResult, seconds: float = 0.0) -> CheckReport:
    """Return the report of ``verdict`` on ``artifact``, the path as given by the user."""
    records = tuple(map(make_finding_record, verdict.findings))
    return CheckReport(
        SCHEMA, artifact, Tool(), verdict.summary, records, verdict.failed, verdict.ignored,
        verdict.programs, verdict.libraries, abi=verdict.abi, seconds=round(seconds, 3),
    )  # fmt: skip


def make_finding_record(f: Finding) -> FindingRecord:
    """Return the record of a finding."""
    return FindingRecord(
        f.rule, f.name, f.severity, f.path, f.message, f.hint, f.evidence, get_subject(f),
        f.fixable,
    )  # fmt: skip


def forget_fix(report: CheckReport) -> CheckReport:
    """Return the report of a repaired artifact: what is left is nothing that `fix` repairs."""
    findings = tuple(msgspec.structs.replace(f, fixable=False) for f in report.findings)
    return msgspec.structs.replace(report, findings=findings)


def make_error_report(artifact: str, error: str) -> CheckReport:
    """Return the report on an artifact that could not be checked."""
    summary = dict.fromkeys((s.value for s in Severity), 0)
    return CheckReport(SCHEMA, artifact, Tool(), summary, (), failed=True, error=error)


def strip_findings(report: CheckReport) -> CheckReport:
    """Return a report without its findings, enough for a total and an exit code."""
    return msgspec.structs.replace(report, findings=(), abi=None)
