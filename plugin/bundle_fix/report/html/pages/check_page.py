"""The HTML report of ``check``: verdict and causes, then graphs and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.graphs.drawn_report import DrawnReport
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, build_code, build_element
from bundle_fix.report.html.page import SizeBudget, build_omission, write_page
from bundle_fix.report.html.sections.banner import build_check_banner, describe_counts
from bundle_fix.report.html.sections.cause_section import build_cause_section
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.html.sections.size_section import build_size_section
from bundle_fix.report.render.text import render_total

SMALLEST_SHARE = 60_000
"""Bytes of the part on one of several artifacts; if there is less room, it has a row only."""
MARGIN = 4096
"""Bytes of the headings, the verdict and the legend of one artifact."""
MAX_ROWS = 1000
"""Artifacts in the table, if they fit."""


def render_check_page(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """Return the document on one or several artifacts."""
    if len(reports) != 1:
        return _render_several(reports, rules)
    title = f"bundle-fix check: {reports[0].artifact}"
    banner, *parts = _build_artifact(reports[0], rules, Anchors(), SizeBudget())
    return write_page(title, [build_element("h1", title), banner], parts)


def _render_several(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """Return a document with a table of all artifacts, then the artifacts, failed ones first.

    Each artifact has an equal share of the size, but at least `SMALLEST_SHARE`.
    """
    title = f"bundle-fix check: {render_total(reports).strip()}"
    ordered = sorted(enumerate(reports, 1), key=lambda pair: not pair[1].failed)
    budget = SizeBudget()
    shown: dict[int, Element] = {}
    rows = ordered[:MAX_ROWS]
    while not budget.take_element(_build_artifact_table(rows, {})):
        rows = rows[: len(rows) // 2]
    for position, (number, report) in enumerate(ordered):
        share = max(budget.left // (len(ordered) - position), SMALLEST_SHARE)
        if share > budget.left:
            break
        anchors = Anchors(f"a{number}-")
        content = _build_artifact(report, rules, anchors, SizeBudget(share - MARGIN))
        heading = build_element("h2", build_code(report.artifact))
        shown[number] = build_element(
            "section", heading, *content, id=anchors.create("artifact"), class_="artifact"
        )
        budget.take_element(shown[number])
    omitted = len(ordered) - len(shown)
    limit = f"The details of {format_count(omitted, 'artifact')} are left out, as the report is"
    limit += " limited in size; check them one by one."
    parts = [_build_artifact_table(rows, shown)]
    if len(rows) < len(ordered):
        rest = format_count(len(ordered) - len(rows), "more row")
        parts.append(build_omission(f"{rest} of the table"))
    if omitted:
        parts.append(build_element("p", limit, class_="soft"))
    return write_page(title, [build_element("h1", title)], [*parts, *shown.values()])


def _build_artifact_table(
    reports: Sequence[tuple[int, CheckReport]], shown: Mapping[int, Element]
) -> Element:
    """Return the verdict on each artifact; those with a part of their own lead there."""
    rows = []
    for number, report in reports:
        name = build_code(report.artifact)
        if number in shown:
            name = build_element("a", name, href=f"#{shown[number].get('id')}")
        word = "could not be checked" if report.error else "FAILED" if report.failed else "passed"
        tag = build_element("span", word, class_=f"tag {'error' if report.failed else 'ok'}")
        rows.append(
            build_element(
                "tr",
                build_element("td", tag),
                build_element("td", name),
                build_element("td", "" if report.error else describe_counts(report)),
            )
        )
    heads = (build_element("th", text, scope="col") for text in ("verdict", "artifact", "findings"))
    head = build_element("thead", build_element("tr", *heads))
    return build_element("table", head, build_element("tbody", *rows))


def _build_artifact(
    report: CheckReport, rules: Mapping[str, RuleText], anchors: Anchors, budget: SizeBudget
) -> Iterator[Element]:
    yield build_check_banner(report)
    if report.error:
        return
    yield build_cause_section(report.findings, report.causes, rules, anchors, budget)
    overview = report.overview if isinstance(report, DrawnReport) else None
    if overview is not None:
        sizes = build_size_section(overview.sizes, anchors.create("sizes"))
        sizes = budget.fit_element(sizes, "Sizes")
        graphs = build_graph_section(overview.graphs, overview.omitted, anchors, budget)
        if graphs is not None:
            yield graphs
        yield sizes
