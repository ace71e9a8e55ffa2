"""Layouts and treemaps: all boxes have places that do not overlap, with Graphviz and without."""

from __future__ import annotations

import itertools
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_fix.report.graphs.load_graph import (
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.report.html.drawing import folding
from bundle_fix.report.html.drawing.dot import lay_out_with_dot
from bundle_fix.report.html.drawing.folding import MAX_LINES, MAX_OBJECTS, fold_graph
from bundle_fix.report.html.drawing.geometry import Box, Geometry
from bundle_fix.report.html.drawing.layers import lay_out_in_layers
from bundle_fix.report.html.drawing.squarify import Tile, fill_with_tiles
from bundle_fix.report.html.elements import MAX_TEXT, build_element

BOXES = [Box(60.0 + 10 * n, 40) for n in range(8)]
LINES = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 1), (0, 5), (5, 5), (5, 6), (0, 7)]


def check_placement(placed: Geometry) -> None:
    assert len(placed.centres) == len(BOXES)
    assert len(placed.curves) == len(LINES)
    assert all(len(curve) % 3 == 1 for curve in placed.curves)
    areas = list(zip(placed.centres, BOXES, strict=True))
    for (one, first), (other, second) in itertools.combinations(areas, 2):
        dx, dy = abs(one[0] - other[0]), abs(one[1] - other[1])
        is_apart = dx >= (first.width + second.width) / 2 - 1 or dy >= first.height - 1
        assert is_apart, (one, other)
    for (x, y), box in areas:
        assert box.width / 2 <= x <= placed.width - box.width / 2
        assert box.height / 2 <= y <= placed.height - box.height / 2


def test_layers_place_all_boxes_apart() -> None:
    check_placement(lay_out_in_layers(BOXES, LINES))


def test_dot_places_all_boxes_apart_and_the_same_way_each_time() -> None:
    if shutil.which("dot") is None:
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail("dot is not installed; BUNDLE_FIX_TOOLCHAINS=all needs graphviz")
        pytest.skip("dot is not installed")
    placed = lay_out_with_dot(BOXES, LINES)
    assert placed is not None
    check_placement(placed)
    assert placed == lay_out_with_dot(BOXES, LINES)


def test_a_missing_dot_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert lay_out_with_dot(BOXES, LINES) is None


def test_a_large_graph_is_folded_to_the_missing_object_and_what_leads_there() -> None:
    count = 300
    objects = [GraphObject(f"lib/{n}", Side.PACK) for n in range(count)]
    objects[-1] = GraphObject("libgone.so", Side.MISSING, is_notable=True)
    edges = [GraphEdge(0, n, f"{n}", "RUNPATH") for n in range(1, count - 1)]
    edges.append(GraphEdge(count - 2, count - 1, "libgone.so", "RUNPATH"))
    folded = fold_graph(LoadGraph("lib/0", GraphKind.PROGRAM, tuple(objects), tuple(edges)))
    assert len(folded.objects) <= MAX_OBJECTS
    assert len(folded.edges) <= MAX_LINES
    assert {0, count - 2, count - 1} <= set(folded.objects)
    assert folded.folded == count - len(folded.objects)
    assert not folded.is_complete


def test_a_chain_of_libraries_is_folded_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 2_000
    objects = tuple(GraphObject(f"lib/{n}", Side.PACK) for n in range(count))
    edges = tuple(GraphEdge(n - 1, n, f"{n}", "RUNPATH") for n in range(1, count))
    reads = 0

    class CountedParents(dict[int, int]):
        def get(self, key: int, default: int = 0) -> int:  # type: ignore[override]
            nonlocal reads
            reads += 1
            return super().get(key, default)

    find_parents = folding._find_parents
    monkeypatch.setattr(folding, "_find_parents", lambda g: CountedParents(find_parents(g)))
    folded = fold_graph(LoadGraph("lib/0", GraphKind.PROGRAM, objects, edges))
    assert folded.objects == tuple(range(MAX_OBJECTS - 1))
    assert folded.folded_from == (MAX_OBJECTS - 2,)
    assert reads <= (MAX_OBJECTS + 2) * count


def test_a_long_curve_is_not_cut() -> None:
    curve = "M0 0C" + "1 1 " * MAX_TEXT
    path = build_element("path", d=curve, aria_label=curve)
    assert path.get("d") == curve
    assert len(path.get("aria-label", "")) == MAX_TEXT


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=40))
def test_tiles_fill_the_area_in_proportion_to_the_sizes(sizes: list[int]) -> None:
    sizes.sort(reverse=True)
    area = Tile(0, 0, 1000, 420)
    tiles = fill_with_tiles(sizes, area)
    assert len(tiles) == len(sizes)
    for size, tile in zip(sizes, tiles, strict=True):
        expected = size / sum(sizes) * area.width * area.height
        assert tile.width * tile.height == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert -1e-6 <= tile.x <= tile.x + tile.width <= area.width + 1e-6
        assert -1e-6 <= tile.y <= tile.y + tile.height <= area.height + 1e-6
