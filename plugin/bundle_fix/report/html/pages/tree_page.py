"""The HTML report of ``tree``: a graph for each program and library."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.report.graphs.load_graph import LoadGraph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.elements import build_element
from bundle_fix.report.html.page import SizeBudget, write_page
from bundle_fix.report.html.sections.banner import FAILED, PASSED, build_banner
from bundle_fix.report.html.sections.graph_section import build_graph_section


def render_tree_page(artifact: str, graphs: Sequence[LoadGraph], omitted: int, missing: int) -> str:
    """Return the document on the processes of an artifact.

    Args:
        artifact: its name.
        graphs: the graphs of its processes.
        omitted: the number of graphs that are left out already.
        missing: the number of names that are not found in any process.
    """
    title = f"bundle-fix tree: {artifact}"
    count = format_count(len(graphs) + omitted, "program or library", "programs and libraries")
    if missing:
        text = f"{format_count(missing, 'name')} of {count} not found"
        verdict = build_banner("MISSING", text, FAILED)
    else:
        verdict = build_banner("complete", f"{count} with all needed names", PASSED)
    section = build_graph_section(graphs, omitted, Anchors(), SizeBudget())
    return write_page(title, [build_element("h1", title), verdict], [section])
