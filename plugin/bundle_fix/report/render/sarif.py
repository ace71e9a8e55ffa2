"""SARIF 2.1.0, which GitHub's code scanning and many editors read (OASIS, sarif-v2.1.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle_fix.policy.severity import Severity
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.check_report import CheckReport, FindingRecord, RuleText, Tool
from bundle_fix.report.locations import deduplicate_fingerprints, encode_uri, locate_member
from bundle_fix.report.render.json import format_json

SCHEMA_ADDRESS = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
HOME = "https://pypi.org/project/bundle-fix/"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "recommendation"}
"""Severities as GitHub's code scanning has them."""
FINGERPRINT = "bundleFix/v1"
OF_A_LINE = "primaryLocationLineHash"
"""The fingerprint by which GitHub's code scanning knows an alert again."""
UNREADABLE = "unreadable"


def render_sarif(
    reports: Sequence[CheckReport], rules: Mapping[str, RuleText], command: str, status: int
) -> str:
    """One run with the findings on all artifacts.

    Args:
        reports: what the checks found.
        rules: every rule, by code; they become the run's rules with their help.
        command: what made the reports, such as ``check``.
        status: the exit status of the command.
    """
    codes = sorted(rules)
    found = [(report, finding) for report in reports for finding in report.findings]
    fingerprints = deduplicate_fingerprints(finding.fingerprint for _, finding in found)
    artifacts = dict.fromkeys(encode_uri(locate_member(report.artifact, "")) for report in reports)
    run = {
        "tool": {"driver": _driver(rules, codes)},
        # What is uploaded of two commands does not take the place of each other.
        "automationDetails": {"id": f"bundle-fix/{command}/"},
        "invocations": [_invocation(reports, status)],
        "artifacts": [
            {"location": {"uri": address}, "roles": ["analysisTarget"]} for address in artifacts
        ],
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(report, finding, codes.index(finding.rule), fingerprint)
            for (report, finding), fingerprint in zip(found, fingerprints, strict=True)
        ],
    }
    return format_json({"$schema": SCHEMA_ADDRESS, "version": "2.1.0", "runs": [run]})


def _driver(rules: Mapping[str, RuleText], codes: Sequence[str]) -> dict[str, Any]:
    tool = Tool()
    return {
        "name": tool.name,
        "version": tool.version,
        "semanticVersion": tool.version,
        "informationUri": HOME,
        "rules": [_rule(rules[code]) for code in codes],
        "notifications": [
            {"id": UNREADABLE, "shortDescription": {"text": "An artifact could not be checked."}}
        ],
    }


def _rule(rule: RuleText) -> dict[str, Any]:
    text = f"{rule.why}\n\nFor example: {rule.example}\n\nFix: {rule.fix}"
    markdown = f"{rule.why}\n\n**For example:** {rule.example}\n\n**Fix:** {rule.fix}"
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
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


def _invocation(reports: Sequence[CheckReport], status: int) -> dict[str, Any]:
    broken = [
        {
            "level": "error",
            "descriptor": {"id": UNREADABLE},
            "message": {"text": escape_unprintable(report.error)},
            "locations": [_location(report, "")],
        }
        for report in reports
        if report.error
    ]
    notices = {"toolExecutionNotifications": broken} if broken else {}
    return {"executionSuccessful": not broken, "exitCode": status, **notices}


def _result(
    report: CheckReport, finding: FindingRecord, rule: int, fingerprint: str
) -> dict[str, Any]:
    text = f"{finding.path} {finding.message}. {finding.hint}".strip()
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": escape_unprintable(text)},
        "locations": [_location(report, finding.path)],
        "partialFingerprints": {FINGERPRINT: fingerprint, OF_A_LINE: f"{fingerprint}:1"},
        "properties": {"artifact": report.artifact, "evidence": finding.evidence},
    }


def _location(report: CheckReport, path: str) -> dict[str, Any]:
    """The file in the artifact, as if that were a folder; services want a line of everything."""
    name = escape_unprintable(path or report.artifact)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": encode_uri(locate_member(report.artifact, path))},
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "module"}],
    }
