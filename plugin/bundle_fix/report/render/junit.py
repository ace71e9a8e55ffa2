"""JUnit XML, which Jenkins and GitLab read: one suite per artifact, one case per rule.

The report is valid for the schema of Jenkins (xunit's junit-10.xsd) and for the stricter one of
Ant, which requires more attributes of a suite and allows no output in a case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from xml.etree import ElementTree as ET

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.finding_record import FindingRecord

MAX_FINDINGS = 100
"""Limit on the listed findings of one rule."""


def render_junit(
    reports: Sequence[CheckReport], rules: Mapping[str, RuleText], fail_on: Severity
) -> str:
    """Render the reports; each rule is a test case that passes or fails.

    Findings milder than ``fail_on`` become output of the suite.

    Args:
        reports: the reports.
        rules: the explanation of each rule, by code.
        fail_on: the mildest severity that fails a case.
    """
    # Characters that XML 1.0 forbids, such as most control characters, are not printable, so
    # escape_unprintable() removes them all.
    root = ET.Element("testsuites")
    for number, report in enumerate(reports):
        root.append(_build_suite(report, number, rules, fail_on))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _build_suite(
    report: CheckReport, number: int, rules: Mapping[str, RuleText], fail_on: Severity
) -> ET.Element:
    name = escape_unprintable(report.artifact) or "."
    suite = ET.Element("testsuite", name=name, package="bundle-fix", id=str(number))
    ET.SubElement(suite, "properties")
    failures, output = 0, []
    if report.error:
        case = ET.SubElement(suite, "testcase", name="read", classname=name, time="0")
        error = ET.SubElement(
            case, "error", message=escape_unprintable(report.error), type="unreadable"
        )
        error.text = escape_unprintable(report.error)
    for code in () if report.error else sorted(rules):
        bad, mild = _split_findings(report, code, fail_on)
        failures += bool(bad)
        output += mild
        _add_case(suite, name, rules[code], bad)
    ET.SubElement(suite, "system-out").text = _format_findings(output)
    ET.SubElement(suite, "system-err").text = escape_unprintable(report.error)
    suite.attrib |= {
        "tests": str(len(list(suite.iter("testcase")))),
        "failures": str(failures),
        "errors": str(int(bool(report.error))),
        "skipped": "0",
        "time": f"{report.seconds:.3f}",
        "timestamp": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}",
        "hostname": "localhost",
    }
    return suite


def _split_findings(
    report: CheckReport, code: str, fail_on: Severity
) -> tuple[list[FindingRecord], list[FindingRecord]]:
    """Return the findings of a rule that fail its case, and the others."""
    findings = [f for f in report.findings if f.rule == code]
    bad = [f for f in findings if f.severity.is_at_least(fail_on)]
    return bad, [f for f in findings if not f.severity.is_at_least(fail_on)]


def _add_case(suite: ET.Element, name: str, rule: RuleText, bad: Sequence[FindingRecord]) -> None:
    title = f"{rule.code} {rule.name}"
    case = ET.SubElement(suite, "testcase", name=title, classname=name, time="0")
    if bad:
        message = f"{rule.title} ({len(bad)} found)"
        failure = ET.SubElement(case, "failure", message=message, type=bad[0].severity)
        hints = dict.fromkeys(escape_unprintable(f.advice) for f in bad)
        fix = "\n".join(f"fix: {hint}" for hint in (hints if len(hints) <= 3 else [rule.advice]))
        failure.text = f"{_format_findings(bad)}\nwhy: {rule.why}\n{fix}"


def _format_findings(findings: Sequence[FindingRecord]) -> str:
    lines = [
        escape_unprintable(f"{f.severity} {f.rule}: {' '.join(filter(None, (f.path, f.message)))}")
        for f in findings[:MAX_FINDINGS]
    ]
    if len(findings) > MAX_FINDINGS:
        lines.append(f"… and {len(findings) - MAX_FINDINGS} more")
    return "\n".join(lines)
