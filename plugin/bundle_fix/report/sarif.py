"""SARIF 2.1.0, which GitHub's code scanning and many editors read (OASIS, sarif-v2.1.0)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bundle_fix.check.findings import ERROR, NOTE, WARNING
from bundle_fix.report.json import to_json
from bundle_fix.report.model import CheckReport, FindingRecord, RuleText, Tool

SCHEMA_ADDRESS = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {ERROR: "error", WARNING: "warning", NOTE: "note"}
FINGERPRINT = "bundleFix/v1"


def render_sarif(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """One run with the findings on all artifacts.

    Args:
        reports: what the checks found.
        rules: every rule, by code; they become the run's rules with their help.
    """
    codes = sorted(rules)
    tool = Tool()
    driver = {
        "name": tool.name,
        "version": tool.version,
        "semanticVersion": tool.version,
        "rules": [_rule(rules[code]) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(reports)],
        "artifacts": [{"location": {"uri": _uri(report.artifact)}} for report in reports],
        "results": [
            _result(report, number, finding, codes.index(finding.rule))
            for number, report in enumerate(reports)
            for finding in report.findings
        ],
    }
    return to_json({"$schema": SCHEMA_ADDRESS, "version": "2.1.0", "runs": [run]})


def _rule(rule: RuleText) -> dict[str, Any]:
    text = f"{rule.why}\n\nFor example: {rule.example}\n\nMend: {rule.mend}"
    markdown = f"{rule.why}\n\n**For example:** {rule.example}\n\n**Mend:** {rule.mend}"
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
    }


def _invocation(reports: Sequence[CheckReport]) -> dict[str, Any]:
    broken = [
        {"level": "error", "message": {"text": f"{report.artifact}: {report.error}"}}
        for report in reports
        if report.error
    ]
    notices = {"toolExecutionNotifications": broken} if broken else {}
    return {"executionSuccessful": not broken, **notices}


def _result(report: CheckReport, number: int, finding: FindingRecord, rule: int) -> dict[str, Any]:
    # A viewer shows the file in the artifact; the artifact itself is its parent.
    place = posixpath.join(report.artifact, finding.path)
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.path} {finding.message}. {finding.hint}".strip()},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(place)},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [
                    {"fullyQualifiedName": finding.path or report.artifact, "kind": "module"}
                ],
            }
        ],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "properties": {"artifact": number, "evidence": finding.evidence},
    }


def _uri(path: str) -> str:
    """A path as a relative reference: SARIF wants URIs (RFC 3986)."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/@!$&'()*+,;=~")
