"""Graphs of the needed names that resolve to another file than in an older artifact."""

from __future__ import annotations

from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.report.diff import DiffReport, ResolutionRecord, ResolvedFileRecord
from bundle_fix.report.graphs.load_graph import (
    GraphBuilder,
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
)
from bundle_fix.report.graphs.process_graphs import SIDES

OWNERS = {ObjectOrigin.BUNDLE: "the pack's", ObjectOrigin.HOST: "the host's"}


def make_diff_graphs(report: DiffReport) -> list[LoadGraph]:
    """Return, for each program with changed names, a graph of the files that they lead to now.

    The steps of an edge are the file in the old artifact and that in the new one. Programs with a
    regression come first.
    """
    builders: dict[str, GraphBuilder] = {}
    for record in report.resolutions:
        for program in record.programs or (record.needed_by,):
            if program not in builders:
                first = GraphObject(program, SIDES[ObjectOrigin.BUNDLE])
                builders[program] = GraphBuilder(program, GraphKind.COMPARISON, first)
                builders[program].indexes[program] = 0
            _add_resolution(builders[program], record)
    graphs = [builder.build() for builder in builders.values()]
    return sorted(graphs, key=lambda graph: not graph.has_notable_objects)


def _add_resolution(builder: GraphBuilder, record: ResolutionRecord) -> None:
    requester = GraphObject(record.needed_by, SIDES[ObjectOrigin.BUNDLE])
    start = builder.add_object(record.needed_by, requester)
    if start != 0 and all(edge.end != start for edge in builder.edges):
        # How the program loads the requester has not changed.
        builder.add_edge(GraphEdge(0, start, record.needed_by))
    label = record.new.path or record.needed
    note = "worse than before" if record.worse else "better than before"
    new = GraphObject(label, SIDES[record.new.origin], is_notable=record.worse, note=note)
    steps = tuple(
        f"{when}: {describe_file(file)}"
        for when, file in (("before", record.old), ("now", record.new))
    )
    end = builder.add_object(label, new)
    builder.add_edge(GraphEdge(start, end, record.needed, note, steps))


def describe_file(file: ResolvedFileRecord) -> str:
    """Return the file that a name resolves to, with its owner."""
    return "not found" if file.path is None else f"{OWNERS[file.origin]} {file.path}"
