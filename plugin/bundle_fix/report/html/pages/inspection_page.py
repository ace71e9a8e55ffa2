"""The HTML report of ``inspect``: the verdict on each process, and a graph of its objects."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.observe.comparison.verdict import Verdict
from bundle_fix.report.graphs.inspection_graphs import make_inspection_graph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_element
from bundle_fix.report.html.page import SizeBudget, build_omission, write_page
from bundle_fix.report.html.sections.banner import FAILED, NEUTRAL, PASSED, build_banner
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.inspection import InspectReport
from bundle_fix.report.render.inspection import (
    describe_differences,
    describe_evidence,
    describe_verdict,
    format_verdict_word,
)

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
    header = [build_element("h1", title), *banners]
    if omitted:
        header.append(build_omission(format_count(omitted, "more process", "more processes")))
    graphs = list(filter(None, map(make_inspection_graph, ordered)))
    return write_page(title, header, [build_graph_section(graphs, 0, Anchors(), budget)])


def _build_verdict(report: InspectReport) -> Element:
    if report.error:
        return build_banner("could not be read", report.error, FAILED)
    word, style = format_verdict_word(report.verdict), STYLES.get(report.verdict, FAILED)
    banner = build_banner(word, describe_verdict(report), style)
    for line in (*describe_evidence(report), *describe_differences(report)):
        append_children(banner, build_element("p", line.strip()))
    return banner
