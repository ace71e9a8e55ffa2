"""What a report of a check says: the model behind every format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bundle_fix import __version__
from bundle_fix.check.checker import Verdict
from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.findings import SEVERITIES, Finding, Rule, subject_of

SCHEMA = 1
"""Version of the reports' layout; it grows when a reader of the old one would stumble."""


class Tool(msgspec.Struct, frozen=True):
    """The tool that made the report."""

    name: str = "bundle-fix"
    version: str = __version__


class RuleText(msgspec.Struct, frozen=True):
    """What there is to say of a rule, whatever it found."""

    code: str
    name: str
    severity: str
    summary: str
    why: str
    fix: str
    example: str


def describe_rules(rules: Iterable[Rule]) -> dict[str, RuleText]:
    """What there is to say of rules, by code."""
    return {
        r.code: RuleText(r.code, r.name, r.severity, r.summary, r.why, r.fix, r.example)
        for r in sorted(rules, key=lambda rule: rule.code)
    }


class FindingRecord(msgspec.Struct, frozen=True):
    """One finding; ``path`` is relative to the pack.

    ``subject`` is what of the file it is about, such as a needed name: with the rule and the path
    it tells one finding from another, in this version of a pack and in the next.
    """

    rule: str
    name: str
    severity: str
    path: str
    message: str
    hint: str
    evidence: Mapping[str, Any]
    subject: str = ""

    @property
    def fingerprint(self) -> str:
        """The same 32 hexadecimal digits for the same finding in two versions of a pack."""
        return _fingerprint(self.rule, self.path, self.subject)


class CheckReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The report on one artifact.

    Attributes:
        schema: the version of this layout.
        artifact: its name, as the user named it.
        tool: what made the report.
        summary: how many findings there are of each severity.
        findings: the worst first.
        failed: whether there are findings as bad as the user said, or the check could not be made.
        ignored: how many findings the user accepts: by an ignore, or by a baseline.
        programs: how many programs the artifact has.
        libraries: how many shared libraries it has.
        error: why the artifact could not be checked, in one line.
        abi: what the artifact wants of its target: versions of symbols, and processors.
        seconds: how long the check took.
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
        """What tells that the artifact could not be checked, the same in every run."""
        return _fingerprint("unreadable", os.path.basename(self.artifact))  # noqa: PTH119


def _fingerprint(*parts: str) -> str:
    # A pack without findings needs no OpenSSL.
    import hashlib

    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def make_check_report(artifact: str, verdict: Verdict, seconds: float = 0.0) -> CheckReport:
    """The report of ``verdict`` on ``artifact``, named as the user named it."""
    records = tuple(map(make_finding_record, verdict.findings))
    return CheckReport(
        SCHEMA, artifact, Tool(), verdict.summary, records, verdict.failed, verdict.ignored,
        verdict.programs, verdict.libraries, abi=verdict.abi, seconds=round(seconds, 3),
    )  # fmt: skip


def make_finding_record(f: Finding) -> FindingRecord:
    """A finding as reports have it."""
    return FindingRecord(
        f.rule, f.name, f.severity, f.path, f.message, f.hint, f.evidence, subject_of(f)
    )


def make_error_report(artifact: str, error: str) -> CheckReport:
    """The report on an artifact that could not be checked."""
    nothing = dict.fromkeys(SEVERITIES, 0)
    return CheckReport(SCHEMA, artifact, Tool(), nothing, (), failed=True, error=error)


def strip_findings(report: CheckReport) -> CheckReport:
    """A report without its findings: what a total and an exit status are made of."""
    return msgspec.structs.replace(report, findings=(), abi=None)
