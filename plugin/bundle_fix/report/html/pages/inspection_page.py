"""The HTML report of ``inspect``: the verdict on each process, and a graph of its objects."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.observe.comparison.verdict import Verdict
from bundle_fix.report.graphs.inspection_graphs import make_inspection_graph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_element
from bundle_fix.report.html.page import SizeBudget, write_page
from bundle_fix.report.html.sections.banner import FAILED, NEUTRAL, PASSED, build_banner
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.inspection import InspectReport
from bundle_fix.report.render.inspection import describe_differences, render_verdict

STYLES = {Verdict.CLEAN: PASSED, Verdict.NO_PACK: NEUTRAL}


def render_inspection_page(reports: Sequence[InspectReport]) -> str:
    """Return the document on processes and core files, those with a problem first."""
    title = f"bundle-fix inspect: {format_count(len(reports), 'process', 'processes')}"
    ordered = sorted(reports, key=lambda report: report.verdict in STYLES)
    budget = SizeBudget()
    banners = []
    for report in ordered:
        banner = _build_verdict(report)
        if budget.take_element(banner):
            banners.append(banner)
    omitted = len(ordered) - len(banners)
    limit = f"{format_count(omitted, 'more process', 'more processes')} left out" if omitted else ""
    graphs = [make_inspection_graph(report) for report in ordered if report.objects]
    section = build_graph_section(graphs, Anchors(), budget)
    return write_page(
        title, [build_element("h1", title), *banners, build_element("p", limit)], [section]
    )


def _build_verdict(report: InspectReport) -> Element:
    if report.error:
        return build_banner("could not be read", report.error, FAILED)
    first, *evidence = render_verdict(report, lambda text, _: text).splitlines()
    word, _, text = first.partition(": ")
    banner = build_banner(word, text, STYLES.get(report.verdict, FAILED))
    evidence += describe_differences(report)
    for line in evidence:
        append_children(banner, build_element("p", line.strip()))
    return banner
