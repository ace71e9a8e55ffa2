"""The causes of a report, each with its fix, and folded below it its findings and searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause
from bundle_fix.report.check_report import Remedy, RuleText
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_code, build_element
from bundle_fix.report.html.page import SizeBudget
from bundle_fix.report.render.causes_text import describe_other_findings
from bundle_fix.report.render.text import count_repaired
from bundle_fix.report.steps import decode_step, format_step

MAX_CAUSES = 12
"""Causes that are not folded: a screen or two."""
MAX_FINDINGS = 100
"""Findings of one cause; the others are counted."""


def build_cause_section(
    findings: Sequence[FindingRecord],
    causes: Sequence[Cause],
    rules: Mapping[str, RuleText],
    anchors: Anchors,
    budget: SizeBudget,
) -> Element:
    """Return the causes, the most severe first; notes are folded.

    Causes that do not fit into the budget are counted.
    """
    section = build_element("section", build_element("h2", "Causes"), id=anchors.create("causes"))
    if not causes:
        append_children(section, build_element("p", "No findings."))
    # Half of the document is left for the drawings.
    reserve = budget.left // 2
    omitted = 0
    for title, group in _fold_causes(causes):
        built = []
        for cause in group:
            element = _build_cause(cause, findings, rules[cause.rule], anchors)
            if budget.take_element(element, reserve):
                built.append(element)
            else:
                omitted += 1
        if title and built:
            built = [build_element("details", build_element("summary", title), *built)]
        append_children(section, *built)
    if omitted:
        text = f"{format_count(omitted, 'cause')} left out, as the report is limited in size;"
        text += " '--format json' has all of them."
        append_children(section, build_element("p", text, class_="soft"))
    return section


def _fold_causes(causes: Sequence[Cause]) -> Iterator[tuple[str, Sequence[Cause]]]:
    """Yield the first causes without a title, then those to fold below a title."""
    problems = [cause for cause in causes if cause.severity is not Severity.NOTE]
    notes = [cause for cause in causes if cause.severity is Severity.NOTE]
    yield "", problems[:MAX_CAUSES]
    folded = problems[MAX_CAUSES:]
    yield format_count(len(folded), "more cause"), folded
    yield format_count(len(notes), "note"), notes


def build_remedy(remedy: Remedy) -> Element:
    """Return the command that repairs findings."""
    note = " (--force writes the result although its check still fails)"
    return build_element(
        "p", f"{count_repaired(remedy)} repaired by: ", build_code(remedy.command),
        note if remedy.needs_force else None,
    )  # fmt: skip


def _build_cause(
    cause: Cause, findings: Sequence[FindingRecord], rule: RuleText, anchors: Anchors
) -> Element:
    head = build_element(
        "h3",
        build_element("span", cause.severity.value, class_=f"tag {cause.severity.value}"),
        f" {cause.title} ",
        build_element("span", "fixable", class_="tag ok") if cause.fixable else None,
        build_element("span", f" {cause.rule} {cause.name}", class_="code"),
    )
    also = describe_other_findings(cause, findings)
    return build_element(
        "article",
        head,
        build_element("p", cause.explanation),
        _build_line("Also: ", also) if also else None,
        _build_line("Why: ", rule.why),
        _build_line("Fix: ", cause.fix),
        _build_findings(cause, findings, anchors),
        class_=f"cause {cause.severity.value}",
        id=anchors.create("cause", cause.rule, cause.kind.value, cause.root),
    )


def _build_line(word: str, text: str) -> Element:
    return build_element("p", build_element("span", word, class_="soft"), text)


def _build_findings(cause: Cause, findings: Sequence[FindingRecord], anchors: Anchors) -> Element:
    members = [findings[index] for index in cause.findings]
    items = build_element("ul")
    for finding in members[:MAX_FINDINGS]:
        append_children(items, _build_finding(finding, anchors.create_for_finding(finding)))
    more = len(members) - MAX_FINDINGS
    text = f"… and {more} more: '--format json' has all of them" if more > 0 else None
    return build_element(
        "details",
        build_element("summary", f"{format_count(len(members), 'finding')} in detail"),
        items,
        text and build_element("p", text, class_="soft"),
    )


def _build_finding(finding: FindingRecord, anchor: str) -> Element:
    item = build_element("li", f"{finding.rule} {finding.name}: ", id=anchor)
    if finding.path:
        append_children(item, build_code(finding.path), " ")
    link = build_element("a", "#", href=f"#{anchor}", aria_label=f"# {anchor}")
    append_children(item, f"{finding.message} ", link, *_build_trace(finding))
    return item


def _build_trace(finding: FindingRecord) -> Iterator[Element]:
    steps = [format_step(decode_step(step)) for step in finding.evidence.get("trace", ())]
    if steps:
        yield build_element("ol", *(build_element("li", step) for step in steps))
