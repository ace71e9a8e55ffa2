"""Choose the graphs of a document by the number of their edges, before they are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Source = TypeVar("Source")

MAX_EDGES = 20_000
"""Edges of all graphs of a document; further graphs are left out."""


def choose_graphs(
    sources: Iterable[tuple[Source, bool, int]], max_edges: int = MAX_EDGES
) -> list[Source]:
    """Return the sources of the graphs to make, up to a limit of edges, the notable ones first.

    Args:
        sources: the source of each graph, whether it has notable objects, and its edges.
        max_edges: the limit; a graph that does not fit does not keep smaller ones out.
    """
    chosen = []
    for source, _, edges in sorted(sources, key=lambda item: not item[1]):
        if edges <= max_edges:
            max_edges -= edges
            chosen.append(source)
    return chosen
