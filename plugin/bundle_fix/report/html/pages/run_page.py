"""The HTML report of ``run``: verdict and causes, then what was loaded and opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle_fix.report.check_report import RuleText
from bundle_fix.report.graphs.run_graphs import make_run_graphs
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, build_code, build_element
from bundle_fix.report.html.page import SizeBudget, write_page
from bundle_fix.report.html.sections.banner import FAILED, PASSED, build_banner, describe_counts
from bundle_fix.report.html.sections.cause_section import build_cause_section
from bundle_fix.report.html.sections.graph_section import build_graph_section
from bundle_fix.report.run import RunReport, convert_to_check_report, format_end

MAX_FILES = 500
"""Files in one list."""
INCOMPLETE = "The records are incomplete: a limit of the kernel or of bundle-fix was reached."


def render_run_page(report: RunReport, rules: Mapping[str, RuleText]) -> str:
    """Return the document on a run."""
    title = " ".join(filter(None, ("bundle-fix run:", report.artifact, report.program)))
    counts = describe_counts(convert_to_check_report(report))
    text = f"{counts} ({format_end(report)}, {report.decoys} decoys)"
    word, style = ("FAILED", FAILED) if report.failed else ("passed", PASSED)
    verdict = build_banner(word, text, style)
    anchors, budget = Anchors(), SizeBudget()
    causes = build_cause_section(report.findings, report.causes, rules, anchors, budget)
    files = [
        budget.fit_element(_build_files(title, paths), title)
        for title, paths in (
            ("Opened files of the pack", report.opened_files),
            ("Other opened files (strace)", report.host_files),
        )
        if paths
    ]
    graphs = build_graph_section(make_run_graphs(report.loads), 0, anchors, budget)
    header = [build_element("h1", title), verdict]
    if not report.complete:
        header.append(build_element("p", INCOMPLETE))
    return write_page(title, header, [causes, graphs, *files])


def _build_files(title: str, paths: Sequence[str]) -> Element:
    items = (build_element("li", build_code(path)) for path in paths[:MAX_FILES])
    more = len(paths) - MAX_FILES
    return build_element(
        "details",
        build_element("summary", f"{title}: {len(paths)}"),
        build_element("ul", *items),
        build_element("p", f"… and {more} more", class_="soft") if more > 0 else None,
    )
