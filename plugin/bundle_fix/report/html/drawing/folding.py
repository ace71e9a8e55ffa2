"""The part of a graph that a drawing shows: all of a small one, the notable objects of a large."""

from __future__ import annotations

from msgspec import Struct

from bundle_fix.report.graphs.load_graph import GraphEdge, LoadGraph, Side

MAX_OBJECTS = 40
"""Objects in one drawing; with more, a reader sees lines only."""
MAX_LINES = 90
"""Lines in one drawing, apart from those to the folded objects."""


class FoldedGraph(Struct, frozen=True):
    """The objects and lines of a drawing.

    An expected library of the host has one line only, from the object that loads it first.

    Attributes:
        objects: the indexes of the drawn objects in the graph; the first is the entry point.
        edges: the indexes of the drawn edges.
        folded: the number of objects that one box stands for.
        folded_from: the drawn objects that lead to these, as indexes in the graph.
        is_complete: whether all objects and edges of the graph are drawn.
    """

    objects: tuple[int, ...]
    edges: tuple[int, ...]
    folded: int
    folded_from: tuple[int, ...]
    is_complete: bool


def fold_graph(graph: LoadGraph) -> FoldedGraph:
    """Return the part of a graph to draw."""
    parents = _find_parents(graph)
    kept = _choose_objects(graph, parents)
    edges, is_complete = _choose_edges(graph, parents, kept)
    folded = [n for n in range(len(graph.objects)) if n not in kept]
    ancestors = {parents.get(n, 0) for n in folded} & kept
    return FoldedGraph(
        tuple(sorted(kept)), tuple(edges), len(folded), tuple(sorted(ancestors)),
        is_complete and not folded,
    )  # fmt: skip


def _find_parents(graph: LoadGraph) -> dict[int, int]:
    """Return the edge by which each object was loaded first, by the object's index."""
    parents: dict[int, int] = {}
    for n, edge in enumerate(graph.edges):
        if edge.end != 0 and edge.end not in parents and edge.start != edge.end:
            parents[edge.end] = n
    # Objects are loaded breadth first, so the requester of the first edge is nearer to the entry.
    return {end: graph.edges[n].start for end, n in parents.items()}


def _list_new_ancestors(parents: dict[int, int], index: int, kept: set[int]) -> list[int]:
    """Return an object, the one that loaded it, and so on, up to the first that is drawn already.

    The list ends after `MAX_OBJECTS`, which is more than a drawing has room for; objects that
    load one another may lead to no drawn one.
    """
    added: list[int] = []
    while index not in kept and len(added) < MAX_OBJECTS:
        added.append(index)
        index = parents.get(index, 0)
    return added


def _choose_objects(graph: LoadGraph, parents: dict[int, int]) -> set[int]:
    """Return the indexes of the objects to draw: the notable ones first, then in load order.

    Each comes with the objects that lead to it.
    """
    objects = graph.objects
    if len(objects) <= MAX_OBJECTS:
        return set(range(len(objects)))
    kept = {0}
    order = sorted(
        range(len(objects)),
        key=lambda n: (not objects[n].is_notable, not objects[n].at_run_time),
    )
    for index in order:
        added = _list_new_ancestors(parents, index, kept)
        if len(kept) + len(added) < MAX_OBJECTS:
            kept.update(added)
        if len(kept) == MAX_OBJECTS - 1:
            break
    return kept


def _choose_edges(
    graph: LoadGraph, parents: dict[int, int], kept: set[int]
) -> tuple[list[int], bool]:
    """Return the indexes of the edges to draw, one for each pair, and whether these are all."""

    def rank(edge: GraphEdge) -> tuple[bool, bool]:
        return parents.get(edge.end) != edge.start, not graph.objects[edge.end].is_notable

    first: dict[tuple[int, int], int] = {}
    for n, edge in enumerate(graph.edges):
        end = graph.objects[edge.end]
        # Every object needs the C library: lines from all of them would hide the others.
        is_ordinary = end.side is Side.HOST and not end.is_notable
        if is_ordinary and parents.get(edge.end) != edge.start:
            continue
        if edge.start in kept and edge.end in kept:
            first.setdefault((edge.start, edge.end), n)
    order = sorted(first.values(), key=lambda n: (*rank(graph.edges[n]), n))
    return sorted(order[:MAX_LINES]), len(order) <= MAX_LINES
