"""The HTML report of ``check``: verdict and causes, then graphs and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.graphs.drawn_report import DrawnReport
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, build_code, build_element
from bundle_fix.report.html.page import SizeBudget, write_page
from bundle_fix.report.html.sections.banner import build_check_banner
from bundle_fix.report.html.sections.cause_section import build_cause_section
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.html.sections.size_section import build_size_section
from bundle_fix.report.render.text import render_total


def render_check_page(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """Return the document on one or several artifacts."""
    budget = SizeBudget()
    title = f"bundle-fix check: {reports[0].artifact}" if len(reports) == 1 else "bundle-fix check"
    header = [build_element("h1", title)]
    if len(reports) > 1:
        header.append(build_element("p", render_total(reports).strip()))
    parts: list[Element] = []
    for number, report in enumerate(reports, 1):
        anchors = Anchors(f"a{number}-" if len(reports) > 1 else "")
        if len(reports) > 1:
            parts.append(build_element("h2", build_code(report.artifact)))
        parts += _build_artifact(report, rules, anchors, budget)
    return write_page(title, header, parts)


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
        has_sizes = budget.take_element(sizes)
        yield build_graph_section(overview.graphs, anchors, budget, overview.omitted)
        if has_sizes:
            yield sizes
