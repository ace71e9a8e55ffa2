"""A graph of loaded objects as inline SVG; every line leads to the trace of its search."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Sequence

from bundle_fix.model.wording import format_count
from bundle_fix.report.graphs.load_graph import GraphObject, LoadGraph, Side
from bundle_fix.report.html.drawing.dot import lay_out_with_dot
from bundle_fix.report.html.drawing.folding import FoldedGraph
from bundle_fix.report.html.drawing.frame import build_drawing, build_label, count_columns
from bundle_fix.report.html.drawing.geometry import Box, Point
from bundle_fix.report.html.drawing.layers import lay_out_in_layers
from bundle_fix.report.html.elements import Element, append_children, build_element, clean_text
from bundle_fix.report.html.marks import EXPECTED, MISSING, OPENED, OTHER, get_mark, get_shape

LARGE_CHARACTER = 7.9
SMALL_CHARACTER = 6.7
"""Width of one character of the fonts in `STYLE`, in pixels."""
LONGEST_NAME = 36
LONGEST_PLACE = 44
HEIGHT = 40
PADDING = 14
ARROW = 7
FOLD = "fold"
CUTS = {MISSING.style: (10.0, 10.0), OPENED.style: (9.0, HEIGHT / 2)}
"""The width and the height of the corners that are cut off, by style."""
ROUND = (EXPECTED.style, OTHER.style)


def draw_graph(
    graph: LoadGraph, folded: FoldedGraph, rows: Sequence[str], traces: Sequence[str]
) -> Element:
    """Return the drawing of a graph.

    Args:
        graph: the graph.
        folded: the part of it to draw.
        rows: the anchor of each object's row in the table.
        traces: the anchor of the search of each edge.
    """
    texts = [_describe_object(graph.objects[n]) for n in folded.objects]
    if folded.folded:
        texts.append((f"{folded.folded} more", "see the table"))
    boxes = [_measure_box(*text) for text in texts]
    position = {index: n for n, index in enumerate(folded.objects)}
    edges = [graph.edges[n] for n in folded.edges]
    lines = [(position[e.start], position[e.end]) for e in edges]
    lines += [(position[n], len(boxes) - 1) for n in folded.folded_from]
    # A star has two columns in any layout, and a pack may have hundreds of small libraries.
    is_star = all(start == 0 for start, _ in lines)
    placed = None if is_star else lay_out_with_dot(boxes, lines)
    placed = placed or lay_out_in_layers(boxes, lines)
    count = format_count(len(graph.objects), "object")
    svg = build_drawing(
        placed.width, placed.height, role="group", aria_label=f"{graph.entry}: graph of {count}",
        width=f"{placed.width:.0f}", height=f"{placed.height:.0f}",
    )  # fmt: skip
    for edge, n, curve in zip(edges, folded.edges, placed.curves, strict=False):
        end = graph.objects[edge.end]
        label = (
            f"{graph.objects[edge.start].label} needs {edge.name}: {edge.rule or 'loaded before'}"
        )
        append_children(svg, _draw_line(curve, get_shape(end).style, label, traces[n]))
    for curve in placed.curves[len(edges) :]:
        append_children(svg, build_element("g", _draw_path(curve), class_="edge"))
    for index, text, box, centre in zip(
        (*folded.objects, None), texts, boxes, placed.centres, strict=False
    ):
        if index is None:
            append_children(svg, _draw_box(text, FOLD, FOLD, box, centre))
        else:
            drawn = graph.objects[index]
            shape = _draw_box(text, get_shape(drawn).style, drawn.label, box, centre)
            append_children(svg, build_element("a", shape, href=f"#{rows[index]}"))
    return svg


def _describe_object(drawn: GraphObject) -> tuple[str, str]:
    """Return the two lines of text in a box: the name, and the side with the directory."""
    directory, name = posixpath.split(drawn.label)
    words = get_mark(drawn).word + (f" {OPENED.word}" if drawn.at_run_time else "")
    place = f": {directory}/" if directory and drawn.side is not Side.MISSING else ""
    return _shorten(name or drawn.label, LONGEST_NAME), _shorten(words + place, LONGEST_PLACE)


def _shorten(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters without a part of its middle."""
    text = clean_text(text)
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[len(text) - length // 2 + 1 :]}"


def _measure_box(name: str, place: str) -> Box:
    width = max(count_columns(name) * LARGE_CHARACTER, count_columns(place) * SMALL_CHARACTER)
    return Box(round(width + 2 * PADDING), HEIGHT)


def _draw_box(text: tuple[str, str], style: str, title: str, box: Box, centre: Point) -> Element:
    x, y = centre
    shape = _draw_shape(style, x - box.width / 2, y - box.height / 2, box)
    return build_element(
        "g",
        build_element("title", title),
        shape,
        build_label(text[0], x, y - 3, text_anchor="middle"),
        build_label(text[1], x, y + 13, text_anchor="middle", class_="small"),
        class_=style,
    )  # fmt: skip


def _draw_shape(style: str, left: float, top: float, box: Box) -> Element:
    """Return the outline: cut corners if missing, pointed if opened, round for the host."""
    right, bottom = left + box.width, top + box.height
    if style in CUTS:
        dx, dy = CUTS[style]
        corners = (
            (left + dx, top), (right - dx, top), (right, top + dy), (right, bottom - dy),
            (right - dx, bottom), (left + dx, bottom), (left, bottom - dy), (left, top + dy),
        )  # fmt: skip
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in corners)
        return build_element("polygon", points=points, class_="shape")
    radius = HEIGHT / 2 if style in ROUND else 2
    return build_element(
        "rect", x=f"{left:.0f}", y=f"{top:.0f}", width=f"{box.width:.0f}",
        height=f"{box.height:.0f}", rx=f"{radius:.0f}", class_="shape",
    )  # fmt: skip


def _draw_line(curve: Sequence[Point], style: str, label: str, anchor: str) -> Element:
    return build_element(
        "a",
        build_element("title", label),
        build_element("path", d=_format_curve(curve), class_="hit"),
        _draw_path(curve),
        href=f"#{anchor}", class_=f"edge {style}", tabindex="-1", aria_label=label,
    )  # fmt: skip


def _draw_path(curve: Sequence[Point]) -> Element:
    """Return a line with an arrow at its end."""
    (x, y), (tip_x, tip_y) = curve[-2], curve[-1]
    angle = math.atan2(tip_y - y, tip_x - x)
    sides = [
        (tip_x - ARROW * math.cos(angle + turn), tip_y - ARROW * math.sin(angle + turn))
        for turn in (0.5, -0.5)
    ]
    (a, b), (c, d) = sides
    arrow = f"M{a:.0f} {b:.0f}L{tip_x:.0f} {tip_y:.0f}L{c:.0f} {d:.0f}"
    return build_element("path", d=_format_curve(curve) + arrow, class_="line")


def _format_curve(curve: Sequence[Point]) -> str:
    (x, y), *others = curve
    return f"M{x:.0f} {y:.0f}C" + " ".join(f"{a:.0f} {b:.0f}" for a, b in others)
