"""Treemaps: rectangles with areas in proportion to sizes, each as square as possible.

Bruls, Huizing, van Wijk: "Squarified Treemaps" (2000).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Tile(Struct, frozen=True):
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float


def fill_with_tiles(sizes: Sequence[float], area: Tile) -> list[Tile]:
    """Return a tile for each size.

    Args:
        sizes: positive numbers, the largest first.
        area: the rectangle that the tiles fill.
    """
    tiles: list[Tile] = []
    scale = area.width * area.height / (sum(sizes) or 1)
    areas = [size * scale for size in sizes]
    while len(tiles) < len(areas):
        side = min(area.width, area.height)
        row = _choose_row(areas, len(tiles), side)
        added, area = _place_row(row, area)
        tiles += added
    return tiles


def _choose_row(areas: Sequence[float], first: int, side: float) -> Sequence[float]:
    """Return the next areas, as many as make the worst of their tiles as square as possible."""
    last = first + 1
    total = areas[first]
    while last < len(areas):
        longer = total + areas[last]
        if _find_worst_ratio(longer, areas[first], areas[last], side) > _find_worst_ratio(
            total, areas[first], areas[last - 1], side
        ):
            break
        total, last = longer, last + 1
    return areas[first:last]


def _find_worst_ratio(total: float, largest: float, smallest: float, side: float) -> float:
    """Return the largest ratio of the sides of a tile in a row with the area ``total``."""
    if not total or not smallest or not side:
        return float("inf")
    square = (total / side) ** 2
    return max(largest / square, square / smallest)


def _place_row(row: Sequence[float], area: Tile) -> tuple[list[Tile], Tile]:
    """Return the tiles of a row along the shorter side of an area, and the rest of the area."""
    total = sum(row)
    tiles = []
    if area.width >= area.height:
        width = min(area.width, total / area.height) if area.height else 0.0
        y = area.y
        for one in row:
            height = one / width if width else 0.0
            tiles.append(Tile(area.x, y, width, height))
            y += height
        return tiles, Tile(area.x + width, area.y, area.width - width, area.height)
    height = min(area.height, total / area.width) if area.width else 0.0
    x = area.x
    for one in row:
        width = one / height if height else 0.0
        tiles.append(Tile(x, area.y, width, height))
        x += width
    return tiles, Tile(area.x, area.y + height, area.width, area.height - height)
