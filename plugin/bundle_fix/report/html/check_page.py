"""The HTML report of ``check``: verdict and causes, then graphs, findings and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.graphs.drawn_report import DrawnReport, Overview
from bundle_fix.report.graphs.load_graph import LoadGraph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, build_code, build_element
from bundle_fix.report.html.finding_section import build_finding_section
from bundle_fix.report.html.load_section import build_legend, build_load_section
from bundle_fix.report.html.page import SizeBudget, build_fitting, write_page
from bundle_fix.report.html.size_section import build_size_section
from bundle_fix.report.render.text import format_counts, render_total

OPEN_GRAPHS = 3
"""Graphs that are not folded when the document opens."""


def render_check_page(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """Return the document on one or several artifacts."""
    budget = SizeBudget()
    title = f"bundle-fix check: {reports[0].artifact}" if len(reports) == 1 else "bundle-fix check"
    header = [build_element("h1", title)]
    if len(reports) > 1:
        header.append(build_element("p", render_total(reports).strip()))
    parts = []
    for number, report in enumerate(reports, 1):
        anchors = Anchors(f"a{number}-" if len(reports) > 1 else "")
        if len(reports) > 1:
            parts.append(build_element("h2", build_code(report.artifact)))
        parts += _build_artifact(report, rules, anchors, budget)
    return write_page(title, header, parts)


def _build_artifact(
    report: CheckReport, rules: Mapping[str, RuleText], anchors: Anchors, budget: SizeBudget
) -> Iterator[Element]:
    yield build_verdict(report)
    if report.error:
        return
    findings = build_finding_section(report.findings, rules, anchors)
    if budget.take_element(findings):
        yield findings
    overview = report.overview if isinstance(report, DrawnReport) else None
    if overview is not None:
        sizes = build_size_section(overview.sizes, anchors.create("sizes"))
        has_sizes = budget.take_element(sizes)
        yield build_graph_section(overview, report.artifact, anchors, budget)
        if has_sizes:
            yield sizes


def build_verdict(report: CheckReport) -> Element:
    """Return the verdict with the counts, and what the target must have."""
    style = "failed" if report.failed else "passed"
    if report.error:
        text = report.error.removeprefix(f"{report.artifact}: ")
        return _build_banner(style, "could not be checked", text)
    counts = format_counts(report.summary) or "no findings"
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    size = f"{format_count(report.programs, 'program')}, "
    size += format_count(report.libraries, "library", "libraries")
    banner = _build_banner(
        style, "FAILED" if report.failed else "passed", f"{counts}{ignored} ({size})"
    )
    if report.abi is not None:
        newest = [f"{family} {one.version}" for family, one in report.abi.versions.items()]
        libc = ["musl"] if report.abi.musl else []
        required = ", ".join([*newest, *libc]) or "no symbol versions"
        banner.append(build_element("p", f"Required of the target: {required}"))
    return banner


def _build_banner(style: str, word: str, text: str) -> Element:
    line = build_element("p", build_element("strong", word), f": {text}")
    return build_element("section", line, class_=f"verdict {style}")


def build_graph_section(
    overview: Overview, artifact: str, anchors: Anchors, budget: SizeBudget
) -> Element:
    """Return the graphs of the programs and of the libraries that only dlopen loads."""
    builders = [
        partial(_build_graph, graph, anchors, number)
        for number, graph in enumerate(overview.graphs)
    ]
    built, omitted = build_fitting(builders, budget)
    omitted += overview.omitted
    limit = None
    if omitted:
        limit = build_element(
            "p",
            f"{format_count(omitted, 'more program or library', 'more programs and libraries')} of"
            f" {artifact} are left out, as the report is limited in size;"
            f" 'bundle-fix tree {artifact} PATH --format html' shows one of them.",
            class_="soft",
        )
    return build_element(
        "section",
        build_element("h2", "Loaded libraries"),
        build_legend(),
        *built,
        limit,
        id=anchors.create("graphs"),
    )


def _build_graph(graph: LoadGraph, anchors: Anchors, number: int) -> Element:
    return build_load_section(graph, anchors, is_open=number < OPEN_GRAPHS)
