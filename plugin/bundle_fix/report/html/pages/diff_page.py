"""The HTML report of ``diff``: verdict and causes, then changed names and files."""

from __future__ import annotations

from collections.abc import Mapping

from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.diff import DiffReport, convert_to_check_report
from bundle_fix.report.graphs.diff_graphs import make_diff_graphs
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_code, build_element
from bundle_fix.report.html.page import SizeBudget, write_page
from bundle_fix.report.html.sections.banner import FAILED, PASSED, build_banner, describe_counts
from bundle_fix.report.html.sections.cause_section import build_cause_section
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.render.member_changes import list_member_changes

MAX_CHANGES = 400
"""Changed members in the table."""


def render_diff_page(report: DiffReport, rules: Mapping[str, RuleText]) -> str:
    """Return the document on two artifacts."""
    title = f"bundle-fix diff: {report.old} → {report.new}"
    word, style = ("WORSE", FAILED) if report.failed else ("not worse", PASSED)
    counts = describe_counts(convert_to_check_report(report))
    verdict = build_banner(word, counts, style)
    for family, versions in report.required_versions.items():
        if versions.old != versions.new:
            text = f"Newest {family} required: {versions.old or 'none'} → {versions.new or 'none'}"
            append_children(verdict, build_element("p", text))
    anchors, budget = Anchors(), SizeBudget()
    causes = build_cause_section(report.findings, report.causes, rules, anchors, budget)
    changes = budget.fit_element(_build_changes(report, anchors), "Changed files")
    graphs = build_graph_section(*make_diff_graphs(report), anchors, budget)
    return write_page(title, [build_element("h1", title), verdict], [causes, graphs, changes])


def _build_changes(report: DiffReport, anchors: Anchors) -> Element:
    section = build_element(
        "section", build_element("h2", "Changed files"), id=anchors.create("changes")
    )
    if report.fixed:
        items = (
            build_element("li", f"{f.rule} {f.name} ", build_code(f.path), f" {f.message}")
            for f in report.fixed[:MAX_CHANGES]
        )
        title = f"{format_count(len(report.fixed), 'finding')} fixed"
        append_children(
            section,
            build_element(
                "details",
                build_element("summary", title),
                build_element("ul", *items),
                _build_rest(len(report.fixed)),
            ),
        )
    changes = list(list_member_changes(report.members))
    rows = (
        build_element(
            "tr", build_element("td", change.kind.value), build_element("td", change.text)
        )
        for change in changes[:MAX_CHANGES]
    )
    heads = (build_element("th", word, scope="col") for word in ("change", "file"))
    head = build_element("thead", build_element("tr", *heads))
    table = build_element("table", head, build_element("tbody", *rows))
    append_children(
        section,
        build_element("p", f"{format_count(report.members.same, 'member')} unchanged"),
        table if changes else None,
        _build_rest(len(changes)),
    )
    return section


def _build_rest(count: int) -> Element | None:
    """Return a line on the items of a list that are left out."""
    more = count - MAX_CHANGES
    return build_element("p", f"… and {more} more", class_="soft") if more > 0 else None
