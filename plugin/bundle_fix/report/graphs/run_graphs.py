"""Graphs of the objects that the processes of a run have loaded."""

from __future__ import annotations

from collections.abc import Iterable

from bundle_fix.report.graphs.load_graph import (
    OPENED,
    GraphBuilder,
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.run.observation import Load, LoadOrigin
from bundle_fix.run.record.loader_record import LoadCall

SIDES = {
    LoadOrigin.PACK: Side.PACK,
    LoadOrigin.DECOY: Side.HOST,
    LoadOrigin.HOST: Side.HOST,
    LoadOrigin.PROGRAM: Side.HOST,
    LoadOrigin.MISSING: Side.MISSING,
}
NOTES = {LoadOrigin.DECOY: "decoy", LoadOrigin.PROGRAM: "written by the program"}
RULES = {LoadCall.NEEDED: "needed", LoadCall.DLOPEN: OPENED}
NOTABLE = (LoadOrigin.DECOY, LoadOrigin.MISSING)


def make_run_graphs(loads: Iterable[Load]) -> list[LoadGraph]:
    """Return a graph for each program of a run, the notable ones first."""
    builders: dict[str, GraphBuilder] = {}
    for load in loads:
        if load.program not in builders:
            first = _make_file(load.program)
            builders[load.program] = GraphBuilder(load.program, GraphKind.PROCESS, first)
        _add_load(builders[load.program], load)
    graphs = [builder.build() for builder in builders.values()]
    return sorted(graphs, key=lambda graph: not graph.has_notable_objects)


def _add_load(builder: GraphBuilder, load: Load) -> None:
    label = load.path or load.name
    loaded = GraphObject(
        label, SIDES[load.origin], not load.at_start, load.origin in NOTABLE,
        NOTES.get(load.origin, ""),
    )  # fmt: skip
    start = builder.add_object(load.requester, _make_file(load.requester))
    end = builder.add_object(label, loaded)
    steps = tuple(f"{path}: tried" for path in load.tried)
    builder.add_edge(GraphEdge(start, end, load.name, RULES[load.call], steps))


def _make_file(path: str) -> GraphObject:
    return GraphObject(path, Side.HOST if path.startswith("/") else Side.PACK)
