"""Graphs of the processes that the model of the loader predicts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.report.graphs.choice import choose_graphs
from bundle_fix.report.graphs.load_graph import (
    OPENED,
    GraphBuilder,
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.report.steps import format_found_by, format_step

SIDES = {
    ObjectOrigin.BUNDLE: Side.PACK,
    ObjectOrigin.HOST: Side.HOST,
    ObjectOrigin.MISSING: Side.MISSING,
}


def make_process_graphs(
    processes: Iterable[Process],
    deployment: Deployment,
    max_edges: int,
    opened: Mapping[str, Sequence[tuple[LoadedObject, str]]],
) -> list[LoadGraph]:
    """Return the graphs of processes up to a limit of edges, the notable ones first.

    ``opened`` has by entry point what `_make_process_graph` takes.
    """
    sources = (
        (p, _has_notable_objects(p, deployment), len(p.resolutions) + len(opened.get(p.entry, ())))
        for p in processes
    )
    return [
        _make_process_graph(p, deployment, opened.get(p.entry, ()))
        for p in choose_graphs(sources, max_edges)
    ]


def _has_notable_objects(process: Process, deployment: Deployment) -> bool:
    describer = _ObjectDescriber(process, deployment)
    return any(describer.describe_object(o).is_notable for o in process.objects)


def _make_process_graph(
    process: Process, deployment: Deployment, opened: Sequence[tuple[LoadedObject, str]]
) -> LoadGraph:
    """Return the graph of a process.

    Args:
        process: the process.
        deployment: the pack on the host of the process.
        opened: the libraries of the pack that its objects open at run time: the object that opens
            a library, and the path of the library.
    """
    main = process.main
    is_program = main.image is not None and main.image.is_program
    kind = GraphKind.PROGRAM if is_program else GraphKind.PLUGIN
    builder = GraphBuilder(process.entry, kind, GraphObject(main.label, Side.PACK))
    describer = _ObjectDescriber(process, deployment)

    def add_object(loaded: LoadedObject) -> int:
        known = builder.indexes.get(loaded.label)
        if known is not None:
            return known
        return builder.add_object(loaded.label, describer.describe_object(loaded))

    for loaded in process.objects:
        index = add_object(loaded)
        if loaded.via is SearchRule.PRELOAD:
            builder.add_edge(GraphEdge(0, index, loaded.name, format_found_by(loaded)))
    for need in process.resolutions:
        start, end = add_object(need.requester), add_object(need.result)
        steps = tuple(map(format_step, need.trace))
        rule = "" if need.already_loaded and not steps else format_found_by(need.result)
        builder.add_edge(GraphEdge(start, end, need.name, rule, steps))
    for caller, path in opened:
        end = builder.add_object(path, GraphObject(path, Side.PACK, at_run_time=True))
        if builder.objects[end].at_run_time:
            builder.add_edge(GraphEdge(add_object(caller), end, path, OPENED))
    return builder.build(process.remarks)


class _ObjectDescriber:
    """Makes the objects of a graph from those of a process."""

    def __init__(self, process: Process, deployment: Deployment) -> None:
        self.deployment = deployment
        image = process.main.image
        host, view = deployment.host, deployment.view
        self.libc = host.find_loader(view, image).libc if image is not None else None

    def describe_object(self, loaded: LoadedObject) -> GraphObject:
        """Return an object with its side, and why a reader should see it."""
        side = SIDES[loaded.origin]
        note = self._describe_copy(loaded) if side is Side.HOST else ""
        is_notable = side is Side.MISSING or bool(note)
        return GraphObject(loaded.label, side, is_notable=is_notable, note=note)

    def _describe_copy(self, loaded: LoadedObject) -> str:
        """Return why a reader should see a file of the host; empty if it is expected there."""
        host, name = self.deployment.host, posixpath.basename(loaded.name)
        if self.libc is None or host.is_expected(name, self.libc):
            return ""
        like = loaded.loaded_by.image if loaded.loaded_by is not None else None
        provided = self.deployment.bundle.find_providers(name, like) if like else ()
        if provided:
            return f"instead of the pack's {provided[0]}"
        is_known = host.files is not None or host.is_common(name, self.libc)
        return "" if is_known else "which few hosts have"
