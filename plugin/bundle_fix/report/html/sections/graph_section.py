"""The part of the report with the graphs of all programs and plugins."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.report.graphs.load_graph import LoadGraph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import Element, append_children, build_element
from bundle_fix.report.html.marks import build_legend
from bundle_fix.report.html.page import SizeBudget
from bundle_fix.report.html.sections.load_section import build_load_section

OPEN_GRAPHS = 3
"""Graphs that are not folded when the document opens."""


def build_graph_section(
    graphs: Sequence[LoadGraph], omitted: int, anchors: Anchors, budget: SizeBudget
) -> Element | None:
    """Return the graphs of processes and libraries, as many as fit; None if there are none.

    Args:
        graphs: the graphs, the most notable first.
        omitted: the number of graphs that are left out already.
        anchors: the ids of the document.
        budget: the bytes that are left.
    """
    if not graphs and not omitted:
        return None
    section = build_element(
        "section",
        build_element("h2", "Loaded libraries"),
        build_legend(),
        id=anchors.create("graphs"),
    )
    for number, graph in enumerate(graphs):
        element = build_load_section(graph, anchors, is_open=number < OPEN_GRAPHS)
        if not budget.take_element(element):
            omitted += len(graphs) - number
            break
        append_children(section, element)
    if omitted:
        text = f"{format_count(omitted, 'more graph')} left out, as the report is limited in size;"
        text += " 'bundle-fix tree ARTIFACT PATH --format html' shows one program or library."
        append_children(section, build_element("p", text, class_="soft"))
    return section
