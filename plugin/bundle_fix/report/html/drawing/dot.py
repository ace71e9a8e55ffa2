"""Layout by Graphviz, if ``dot`` is installed.

dot gets numbers only, no names, so no name can change the drawing.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from bundle_fix.report.html.drawing.geometry import Box, Geometry, Point

DPI = 72
SECONDS = 20
"""Limit of one layout; the size of the drawings keeps them far below a second."""
MARGIN = 6


def lay_out_with_dot(boxes: Sequence[Box], lines: Sequence[tuple[int, int]]) -> Geometry | None:
    """Return the layout of a graph from left to right, or None without a usable ``dot``.

    Args:
        boxes: the boxes.
        lines: pairs of the indexes of two boxes.
    """
    program = shutil.which("dot")
    if program is None:
        return None
    try:
        ran = subprocess.run(
            [program, "-Tplain"], input=_write_graph(boxes, lines), capture_output=True,
            check=True, timeout=SECONDS, encoding="ascii",
        )  # fmt: skip
        return _read_layout(ran.stdout, len(boxes), lines)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError):
        return None


def _write_graph(boxes: Sequence[Box], lines: Sequence[tuple[int, int]]) -> str:
    text = ["digraph { graph [rankdir=LR nodesep=0.14 ranksep=0.6];",
            'node [shape=box fixedsize=true label=""]; edge [dir=none];']  # fmt: skip
    text += [
        f"{n} [width={box.width / DPI:.4f} height={box.height / DPI:.4f}];"
        for n, box in enumerate(boxes)
    ]
    text += [f"{start} -> {end};" for start, end in lines]
    return "\n".join([*text, "}"])


def _read_layout(text: str, boxes: int, lines: Sequence[tuple[int, int]]) -> Geometry:
    """Return the layout in the output of ``dot -Tplain``.

    Raises:
        ValueError: The output is not complete.
    """
    width = height = 0.0
    centres: dict[int, Point] = {}
    curves: dict[tuple[int, int], list[Point]] = {}
    for line in text.splitlines():
        word, *values = line.split(" ")
        if word == "graph":
            width, height = (float(value) * DPI for value in values[1:3])
        elif word == "node":
            centres[int(values[0])] = _convert_point(values[1], values[2], height)
        elif word == "edge":
            number = int(values[2])
            flat = values[3 : 3 + 2 * number]
            points = [
                _convert_point(x, y, height) for x, y in zip(flat[::2], flat[1::2], strict=True)
            ]
            curves[int(values[0]), int(values[1])] = points
    if len(centres) != boxes:
        raise ValueError("incomplete layout")
    return Geometry(
        width + 2 * MARGIN,
        height + 2 * MARGIN,
        [centres[n] for n in range(boxes)],
        [curves[line] for line in lines],
    )


def _convert_point(x: str, y: str, height: float) -> Point:
    """Return a point in pixels; the origin of dot is at the bottom."""
    return float(x) * DPI + MARGIN, height - float(y) * DPI + MARGIN
