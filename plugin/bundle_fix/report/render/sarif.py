"""SARIF 2.1.0 (OASIS, sarif-v2.1.0), which GitHub code scanning and many editors read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, RuleText, Tool
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.locations import deduplicate_fingerprints, encode_uri, locate_member
from bundle_fix.report.render.json import format_json

SCHEMA_ADDRESS = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
HOME = "https://pypi.org/project/bundle-fix/"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "recommendation"}
"""Severities in the terms of GitHub code scanning ("SARIF support for code scanning")."""
FINGERPRINT = "bundleFix/v1"
LINE_FINGERPRINT = "primaryLocationLineHash"
"""The fingerprint by which GitHub code scanning recognizes an alert in a later upload."""
UNREADABLE = "unreadable"


def render_sarif(
    reports: Sequence[CheckReport], rules: Mapping[str, RuleText], command: str, status: int
) -> str:
    """Render one SARIF run with the findings on all artifacts.

    Args:
        reports: the reports.
        rules: the explanation of each rule, by code; all become rules of the run.
        command: the command that made the reports, such as ``check``.
        status: the exit code of the command.
    """
    codes = sorted(rules)
    found = [(report, finding) for report in reports for finding in report.findings]
    fingerprints = deduplicate_fingerprints(finding.fingerprint for _, finding in found)
    artifacts = dict.fromkeys(encode_uri(locate_member(report.artifact, "")) for report in reports)
    run = {
        "tool": {"driver": _make_driver(rules, codes)},
        # Code scanning replaces earlier results of the same id: each command has its own.
        "automationDetails": {"id": f"bundle-fix/{command}/"},
        "invocations": [_make_invocation(reports, status)],
        "artifacts": [
            {"location": {"uri": address}, "roles": ["analysisTarget"]} for address in artifacts
        ],
        "columnKind": "unicodeCodePoints",
        "results": [
            _make_result(report, finding, codes.index(finding.rule), fingerprint)
            for (report, finding), fingerprint in zip(found, fingerprints, strict=True)
        ],
    }
    return format_json({"$schema": SCHEMA_ADDRESS, "version": "2.1.0", "runs": [run]})


def _make_driver(rules: Mapping[str, RuleText], codes: Sequence[str]) -> dict[str, Any]:
    tool = Tool()
    return {
        "name": tool.name,
        "version": tool.version,
        "semanticVersion": tool.version,
        "informationUri": HOME,
        "rules": [_make_rule(rules[code]) for code in codes],
        "notifications": [
            {"id": UNREADABLE, "shortDescription": {"text": "An artifact could not be checked."}}
        ],
    }


def _make_rule(rule: RuleText) -> dict[str, Any]:
    text = f"{rule.why}\n\nFor example: {rule.example}\n\nFix: {rule.advice}"
    markdown = f"{rule.why}\n\n**For example:** {rule.example}\n\n**Fix:** {rule.advice}"
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": text, "markdown": markdown},
        "helpUri": f"{HOME}#{rule.code.lower()}-{rule.name}",
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {
            "precision": "high",
            "problem.severity": PROBLEMS[rule.severity],
            "tags": ["packaging", "elf"],
        },
    }


def _make_invocation(reports: Sequence[CheckReport], status: int) -> dict[str, Any]:
    notifications = [
        {
            "level": "error",
            "descriptor": {"id": UNREADABLE},
            "message": {"text": escape_unprintable(report.error)},
            "locations": [_make_location(report, "")],
        }
        for report in reports
        if report.error
    ]
    invocation: dict[str, Any] = {
        "executionSuccessful": not notifications, "exitCode": status,
    }  # fmt: skip
    if notifications:
        invocation["toolExecutionNotifications"] = notifications
    return invocation


def _make_result(
    report: CheckReport, finding: FindingRecord, rule: int, fingerprint: str
) -> dict[str, Any]:
    text = f"{finding.path} {finding.message}. {finding.advice}".strip()
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": escape_unprintable(text)},
        "locations": [_make_location(report, finding.path)],
        "partialFingerprints": {FINGERPRINT: fingerprint, LINE_FINGERPRINT: f"{fingerprint}:1"},
        "properties": {"artifact": report.artifact, "evidence": finding.evidence},
    }


def _make_location(report: CheckReport, path: str) -> dict[str, Any]:
    """Return the location of a member, as if its artifact were a directory."""
    # GitHub code scanning requires a line number, although ELF files have no lines.
    name = escape_unprintable(path or report.artifact)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": encode_uri(locate_member(report.artifact, path))},
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "module"}],
    }
