"""JUnit's XML, which Jenkins and GitLab read: a suite an artifact, a case a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from bundle_fix.check.findings import SEVERITIES
from bundle_fix.report.model import CheckReport, FindingRecord, RuleText
from bundle_fix.report.printable import printable

MOST = 100
"""Findings of one rule that are listed."""


def render_junit(
    reports: Sequence[CheckReport], rules: Mapping[str, RuleText], fail_on: str
) -> str:
    """Every rule is a case that passes or fails; what is milder than ``fail_on`` is its output."""
    root = ET.Element("testsuites", name="bundle-fix check")
    for report in reports:
        root.append(_suite(report, rules, fail_on))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(report: CheckReport, rules: Mapping[str, RuleText], fail_on: str) -> ET.Element:
    suite = ET.Element("testsuite", name=printable(report.artifact))
    if report.error:
        case = ET.SubElement(suite, "testcase", name="read", classname=printable(report.artifact))
        ET.SubElement(case, "error", message=printable(report.error), type="BundleFixError")
        suite.attrib |= {"tests": "1", "failures": "0", "errors": "1"}
        return suite
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    failures = 0
    for code in sorted(rules):
        findings = [f for f in report.findings if f.rule == code]
        bad = [f for f in findings if f.severity in failing]
        mild = [f for f in findings if f.severity not in failing]
        name = f"{code} {rules[code].name}"
        case = ET.SubElement(suite, "testcase", name=name, classname=printable(report.artifact))
        if bad:
            failures += 1
            message = f"{rules[code].summary} ({len(bad)} found)"
            failure = ET.SubElement(case, "failure", message=message, type=bad[0].severity)
            failure.text = f"{_listed(bad)}\nwhy: {rules[code].why}\nmend: {bad[0].hint}"
        if mild:
            ET.SubElement(case, "system-out").text = _listed(mild)
    suite.attrib |= {"tests": str(len(rules)), "failures": str(failures), "errors": "0"}
    return suite


def _listed(findings: Sequence[FindingRecord]) -> str:
    lines = [
        printable(f"{f.severity}: {f.path} {f.message}".replace(":  ", ": "))
        for f in findings[:MOST]
    ]
    if len(findings) > MOST:
        lines.append(f"… and {len(findings) - MOST} more")
    return "\n".join(lines)
