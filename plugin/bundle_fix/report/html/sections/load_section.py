"""The part of the report on one process or library: the graph, and a table with all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from bundle_fix.model.wording import format_count
from bundle_fix.report.graphs.load_graph import GraphEdge, GraphKind, GraphObject, LoadGraph
from bundle_fix.report.html.anchors import Anchors
from bundle_fix.report.html.drawing.folding import fold_graph
from bundle_fix.report.html.drawing.graph_svg import draw_graph
from bundle_fix.report.html.elements import (
    Element,
    append_children,
    build_code,
    build_element,
)
from bundle_fix.report.html.marks import MARKS, OPENED, build_tag, get_mark

MAX_ROWS = 600
"""Rows of one table."""
MAX_NAMES = 8
"""Names in one list."""
KIND_WORDS = {
    GraphKind.PROGRAM: "program",
    GraphKind.PLUGIN: "library that is opened at run time",
    GraphKind.PROCESS: "process",
    GraphKind.COMPARISON: "changed names",
}


class RowAnchors(Struct, frozen=True):
    """The anchors of a table, of each object's row, and of the search of each edge."""

    table: str
    rows: tuple[str, ...]
    searches: tuple[str, ...]


def build_load_section(graph: LoadGraph, anchors: Anchors, *, is_open: bool) -> Element:
    """Return the graph and the table of a process or library, folded unless ``is_open``."""
    section = anchors.create(graph.kind.value, graph.entry)
    row_anchors = _create_row_anchors(graph, anchors.create("objects", section))
    folded = fold_graph(graph)
    drawing = draw_graph(graph, folded, row_anchors.rows, row_anchors.searches)
    limits = None
    if not folded.is_complete:
        limits = (
            f"The drawing shows {len(folded.objects)} of {len(graph.objects)} objects and"
            f" {len(folded.edges)} of {len(graph.edges)} names: first what is missing or another"
            " copy, with the objects that lead there, then the objects in load order. The table"
            " lists all of them."
        )
    content = build_element(
        "div",
        *(build_element("p", remark) for remark in graph.remarks),
        build_element(
            "div", drawing, class_="scroll", tabindex=0, role="region",
            aria_label=f"graph of {graph.entry}",
        ),
        limits and build_element("p", limits, class_="soft"),
        _build_object_table(graph, row_anchors),
        id=section,
    )  # fmt: skip
    return build_element("details", _build_summary(graph), content, class_="part", open=is_open)


def _build_summary(graph: LoadGraph) -> Element:
    counts = Counter(map(get_mark, graph.objects[1:]))
    tags = [build_tag(mark, str(counts[mark])) for mark in MARKS if counts[mark]]
    summary = build_element(
        "summary", build_code(graph.entry), f" {KIND_WORDS[graph.kind]} ", class_="head"
    )
    for tag in tags or [build_element("span", "loads nothing else", class_="soft")]:
        append_children(summary, tag, " ")
    return summary


def _create_row_anchors(graph: LoadGraph, prefix: str) -> RowAnchors:
    """Return the anchors; what has no row leads to the table as a whole.

    `format_anchor` makes no ``:``, so no other part of the document has such an id.
    """
    rows = [f"{prefix}:{n}" if n < MAX_ROWS else prefix for n in range(len(graph.objects))]
    own = {
        n: f"{prefix}:s{n}"
        for n, edge in enumerate(graph.edges)
        if edge.steps and edge.end < MAX_ROWS
    }
    # A name without a search of its own leads to the search that found the object.
    first = {graph.edges[n].end: anchor for n, anchor in reversed(own.items())}
    searches = (
        own.get(n) or first.get(edge.end, rows[edge.end]) for n, edge in enumerate(graph.edges)
    )
    return RowAnchors(prefix, tuple(rows), tuple(searches))


def _build_object_table(graph: LoadGraph, anchors: RowAnchors) -> Element:
    edges: dict[int, list[int]] = {}
    for n, edge in enumerate(graph.edges):
        edges.setdefault(edge.end, []).append(n)
    heads = (build_element("th", text, scope="col") for text in ("object", "from", "found by"))
    body = build_element("tbody")
    for index, drawn in enumerate(graph.objects[:MAX_ROWS]):
        searches = [(graph.edges[n], anchors.searches[n]) for n in edges.get(index, ())]
        append_children(body, _build_row(graph, drawn, anchors.rows[index], searches))
    table = build_element(
        "table",
        build_element("thead", build_element("tr", *heads)),
        body,
        class_="objects",
    )
    more = len(graph.objects) - MAX_ROWS
    limit = f"{format_count(more, 'more object')}: see bundle-fix tree" if more > 0 else None
    return build_element("div", table, limit and build_element("p", limit), id=anchors.table)


def _build_row(
    graph: LoadGraph, drawn: GraphObject, anchor: str, edges: Sequence[tuple[GraphEdge, str]]
) -> Element:
    opened = build_tag(OPENED) if drawn.at_run_time else None
    return build_element(
        "tr",
        build_element("td", build_code(drawn.label), drawn.note and f" {drawn.note}"),
        build_element("td", build_tag(get_mark(drawn)), " ", opened, data_label="from"),
        build_element("td", *_build_searches(graph, edges), data_label="found by"),
        id=anchor,
    )


def _build_searches(graph: LoadGraph, edges: Sequence[tuple[GraphEdge, str]]) -> Iterator[Element]:
    """Yield the searches that led to an object, then the names that were known already."""
    known = []
    for edge, anchor in edges:
        requester = graph.objects[edge.start].label
        if not edge.rule and not edge.steps:
            known.append(requester)
            continue
        title = (build_code(edge.name), f" of {requester}: {edge.rule or 'loaded before'}")
        if not edge.steps:
            yield build_element("div", *title)
            continue
        steps = build_element("ol", *(build_element("li", s) for s in edge.steps), id=anchor)
        yield build_element("details", build_element("summary", *title), steps)
    if known:
        names = ", ".join(known[:MAX_NAMES])
        more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
        yield build_element("div", f"also needed by {names}{more}", class_="soft")
