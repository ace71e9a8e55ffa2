"""JUnit's XML, which Jenkins and GitLab read: a suite an artifact, a case a rule.

It holds to the schema of Jenkins (xunit's junit-10.xsd) and to the stricter one of Ant's reports,
which wants more attributes of a suite and takes no output of a case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from xml.etree import ElementTree as ET

from bundle_fix.check.findings import SEVERITIES
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.check_report import CheckReport, FindingRecord, RuleText

MOST = 100
"""Findings of one rule that are listed."""


def render_junit(
    reports: Sequence[CheckReport], rules: Mapping[str, RuleText], fail_on: str
) -> str:
    """Every rule is a case that passes or fails; what is milder than ``fail_on`` is its output.

    Args:
        reports: what the checks found.
        rules: every rule, by code.
        fail_on: the mildest severity that fails a case.
    """
    # Nothing that an XML document cannot hold, such as most control characters, is printable.
    root = ET.Element("testsuites")
    for number, report in enumerate(reports):
        root.append(_suite(report, number, rules, fail_on))
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(
    report: CheckReport, number: int, rules: Mapping[str, RuleText], fail_on: str
) -> ET.Element:
    name = escape_unprintable(report.artifact) or "."
    suite = ET.Element("testsuite", name=name, package="bundle-fix", id=str(number))
    ET.SubElement(suite, "properties")
    failures, told = 0, []
    if report.error:
        case = ET.SubElement(suite, "testcase", name="read", classname=name, time="0")
        error = ET.SubElement(
            case, "error", message=escape_unprintable(report.error), type="unreadable"
        )
        error.text = escape_unprintable(report.error)
    for code in () if report.error else sorted(rules):
        bad, mild = _of_rule(report, code, fail_on)
        failures += bool(bad)
        told += mild
        _case(suite, name, rules[code], bad)
    ET.SubElement(suite, "system-out").text = _listed(told)
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


def _of_rule(
    report: CheckReport, code: str, fail_on: str
) -> tuple[list[FindingRecord], list[FindingRecord]]:
    """The findings of a rule that fail, and those that do not."""
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    findings = [f for f in report.findings if f.rule == code]
    bad = [f for f in findings if f.severity in failing]
    return bad, [f for f in findings if f.severity not in failing]


def _case(suite: ET.Element, name: str, rule: RuleText, bad: Sequence[FindingRecord]) -> None:
    title = f"{rule.code} {rule.name}"
    case = ET.SubElement(suite, "testcase", name=title, classname=name, time="0")
    if bad:
        message = f"{rule.summary} ({len(bad)} found)"
        failure = ET.SubElement(case, "failure", message=message, type=bad[0].severity)
        hints = dict.fromkeys(escape_unprintable(f.hint) for f in bad)
        fix = "\n".join(f"fix: {hint}" for hint in (hints if len(hints) <= 3 else [rule.fix]))
        failure.text = f"{_listed(bad)}\nwhy: {rule.why}\n{fix}"


def _listed(findings: Sequence[FindingRecord]) -> str:
    lines = [
        escape_unprintable(f"{f.severity} {f.rule}: {' '.join(filter(None, (f.path, f.message)))}")
        for f in findings[:MOST]
    ]
    if len(findings) > MOST:
        lines.append(f"… and {len(findings) - MOST} more")
    return "\n".join(lines)
