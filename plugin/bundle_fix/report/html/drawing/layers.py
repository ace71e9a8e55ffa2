"""Layout without Graphviz: columns by the distance from the first box, rows in load order."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.report.html.drawing.geometry import Box, Geometry, Point

GAP = 14
COLUMN_GAP = 70
MARGIN = 6


def lay_out_in_layers(boxes: Sequence[Box], lines: Sequence[tuple[int, int]]) -> Geometry:
    """Return the layout of a graph whose first box leads to all others.

    Args:
        boxes: the boxes.
        lines: pairs of the indexes of two boxes.
    """
    columns = _choose_columns(len(boxes), lines)
    widths = [0.0] * (max(columns) + 1)
    heights = [0.0] * len(widths)
    for box, column in zip(boxes, columns, strict=True):
        widths[column] = max(widths[column], box.width)
        heights[column] += box.height + GAP
    height = max(heights)
    lefts = [MARGIN + sum(widths[:n]) + n * COLUMN_GAP for n in range(len(widths))]
    tops = [MARGIN + (height - own) / 2 for own in heights]
    centres = []
    for box, column in zip(boxes, columns, strict=True):
        centres.append((lefts[column] + box.width / 2, tops[column] + box.height / 2))
        tops[column] += box.height + GAP
    curves = [
        _draw_curve(centres[a], boxes[a], centres[b], boxes[b]) if a != b
        else _draw_loop(centres[a], boxes[a]) for a, b in lines
    ]  # fmt: skip
    return Geometry(lefts[-1] + widths[-1] + COLUMN_GAP, height + 2 * MARGIN, centres, curves)


def _choose_columns(boxes: int, lines: Sequence[tuple[int, int]]) -> list[int]:
    """Return the column of each box: the smallest number of lines from the first one."""
    reached = {0: 0}
    current = [0]
    while current:
        ends = [end for start in current for begin, end in lines if begin == start]
        column = reached[current[0]] + 1
        current = [end for end in dict.fromkeys(ends) if end not in reached]
        reached.update(dict.fromkeys(current, column))
    return [reached.get(n, 0) for n in range(boxes)]


def _draw_curve(start: Point, first: Box, end: Point, last: Box) -> list[Point]:
    """Return a curve from the right side of a box to the nearest side of another."""
    x, y = start[0] + first.width / 2, start[1]
    if end[0] - last.width / 2 > x:
        to, bend = end[0] - last.width / 2, (end[0] - last.width / 2 - x) / 2
        return [(x, y), (x + bend, y), (to - bend, end[1]), (to, end[1])]
    # The other box is in the same column, or in one to the left: pass on the right of both.
    to = end[0] + last.width / 2
    outer = max(x, to) + COLUMN_GAP / 2
    return [(x, y), (outer, y), (outer, end[1]), (to, end[1])]


def _draw_loop(centre: Point, box: Box) -> list[Point]:
    x, y = centre[0] + box.width / 2, centre[1]
    return [(x, y - 5), (x + GAP * 2, y - 5), (x + GAP * 2, y + 5), (x, y + 5)]
