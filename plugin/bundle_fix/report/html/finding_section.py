"""The findings of a report, grouped by rule, each with its search and an anchor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_code, build_element
from bundle_fix.report.steps import decode_step, format_step

MAX_FINDINGS = 100
"""Findings of one rule; the others are counted."""


def build_finding_section(
    findings: Sequence[FindingRecord], rules: Mapping[str, RuleText], anchors: Anchors
) -> Element:
    """Return all findings, the most severe first."""
    section = build_element(
        "section", build_element("h2", "Findings"), id=anchors.create("findings")
    )
    ordered = sorted(findings, key=lambda f: (f.severity.rank, f.rule))
    for (severity, code), group in groupby(ordered, key=lambda f: (f.severity, f.rule)):
        append_children(section, _build_rule(severity, rules[code], list(group), anchors))
    if not findings:
        append_children(section, build_element("p", "No findings."))
    return section


def _build_rule(
    severity: Severity, rule: RuleText, findings: Sequence[FindingRecord], anchors: Anchors
) -> Element:
    count = format_count(len(findings), "finding")
    head = build_element(
        "summary",
        build_element("span", severity.value, class_=f"tag {severity.value}"),
        f" {rule.code} {rule.name}: {rule.title} ",
        build_element("span", count, class_="soft"),
    )
    items = build_element("ul")
    seen: set[str] = set()
    for finding in findings[:MAX_FINDINGS]:
        anchor = anchors.create_for_finding(finding, is_first=finding.path not in seen)
        seen.add(finding.path)
        append_children(items, build_finding(finding, anchor))
    more = len(findings) - MAX_FINDINGS
    text = f"… and {more} more: 'bundle-fix check --verbose' lists all" if more > 0 else None
    return build_element(
        "details",
        head,
        build_element("p", rule.why),
        build_element("p", "Fix: ", rule.advice, class_="fix"),
        items,
        text and build_element("p", text, class_="soft"),
        class_="part",
        open=severity is not Severity.NOTE,
    )


def build_finding(finding: FindingRecord, anchor: str) -> Element:
    """Return one finding with its search."""
    item = build_element("li", id=anchor)
    if finding.path:
        append_children(item, build_code(finding.path), " ")
    append_children(item, finding.message, " ", _build_permalink(anchor))
    append_children(item, *_build_trace(finding))
    return item


def _build_permalink(anchor: str) -> Element:
    return build_element("a", "#", href=f"#{anchor}", aria_label=f"link to {anchor}")


def _build_trace(finding: FindingRecord) -> Iterator[Element]:
    steps = [format_step(decode_step(step)) for step in finding.evidence.get("trace", ())]
    if steps:
        yield build_element(
            "details",
            build_element("summary", f"search of {format_count(len(steps), 'step')}"),
            build_element("ol", *(build_element("li", step) for step in steps)),
        )
