"""Graphs of the needed names that resolve to another file than in an older artifact."""

from __future__ import annotations

from collections.abc import Iterable

from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.report.diff import DiffReport, ResolutionRecord, ResolvedFileRecord
from bundle_fix.report.graphs.choice import choose_graphs
from bundle_fix.report.graphs.load_graph import (
    GraphBuilder,
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
)
from bundle_fix.report.graphs.process_graphs import SIDES

OWNERS = {ObjectOrigin.BUNDLE: "the pack's", ObjectOrigin.HOST: "the host's"}


def make_diff_graphs(report: DiffReport) -> tuple[list[LoadGraph], int]:
    """Return, for each program with changed names, a graph of the files that they lead to now.

    The steps of an edge are the file in the old artifact and that in the new one. Programs with a
    regression come first. The number of graphs that are left out comes second.
    """
    changed: dict[str, list[ResolutionRecord]] = {}
    for record in report.resolutions:
        for program in record.programs or (record.needed_by,):
            changed.setdefault(program, []).append(record)
    sources = (
        (program, any(record.worse for record in records), len(records))
        for program, records in changed.items()
    )
    chosen = choose_graphs(sources)
    graphs = [_make_graph(program, changed[program]) for program in chosen]
    return graphs, len(changed) - len(graphs)


def _make_graph(program: str, records: Iterable[ResolutionRecord]) -> LoadGraph:
    first = GraphObject(program, SIDES[ObjectOrigin.BUNDLE])
    builder = GraphBuilder(program, GraphKind.COMPARISON, first)
    for record in records:
        _add_resolution(builder, record)
    return builder.build()


def _add_resolution(builder: GraphBuilder, record: ResolutionRecord) -> None:
    requester = GraphObject(record.needed_by, SIDES[ObjectOrigin.BUNDLE])
    known = len(builder.objects)
    start = builder.add_object(record.needed_by, requester)
    if start == known:
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
