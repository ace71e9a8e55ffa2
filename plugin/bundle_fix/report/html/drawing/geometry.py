"""Where the boxes and lines of a drawing are, in pixels."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

Point = tuple[float, float]


class Box(Struct, frozen=True):
    """The size of a box."""

    width: float
    height: float


class Geometry(Struct, frozen=True):
    """The places of boxes and lines.

    Attributes:
        width: the width of the drawing.
        height: its height.
        centres: the centre of each box.
        curves: for each line the points of a Bézier curve: a start, then three points for each
            part.
    """

    width: float
    height: float
    centres: Sequence[Point]
    curves: Sequence[Sequence[Point]]
