"""Make the overview of an artifact: a graph for each entry point, and the sizes of its files."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.pipelines.target import ArtifactOnTarget
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.graphs.drawn_report import Overview
from bundle_fix.report.graphs.load_graph import LoadGraph
from bundle_fix.report.graphs.measure import measure_files
from bundle_fix.report.graphs.process_graphs import make_process_graph

MAX_EDGES = 20_000
"""Edges of all graphs of a document; further graphs are left out."""
MIN_EDGES = 500
"""Edges of one artifact, if a document has many."""


def make_overview(
    artifact: ArtifactOnTarget, policy: CheckPolicy, facts: FactCache, artifacts: int = 1
) -> Overview:
    """Return the overview of an artifact after its check.

    Args:
        artifact: the artifact, which must be open.
        policy: the policy of the check.
        facts: the facts that the check found.
        artifacts: the number of artifacts in the document, which share its limits.
    """
    context = Context(
        artifact.bundle, policy, artifact.host, artifact.environment, artifact.entry, facts
    )
    opened = _find_opened_plugins(context)
    processes = (*context.programs.values(), *context.plugins.values())
    graphs = [make_process_graph(p, context.deployment, opened.get(p.entry, ())) for p in processes]
    graphs, omitted = choose_graphs(graphs, max(MAX_EDGES // artifacts, MIN_EDGES))
    return Overview(tuple(graphs), omitted, measure_files(context.bundle))


def choose_graphs(graphs: Sequence[LoadGraph], max_edges: int) -> tuple[list[LoadGraph], int]:
    """Return the graphs up to a limit of edges, the notable ones first, and the number left out."""
    chosen: list[LoadGraph] = []
    edges = 0
    for graph in sorted(graphs, key=lambda g: not g.has_notable_objects):
        edges += len(graph.edges)
        if edges <= max_edges:
            chosen.append(graph)
    return chosen, len(graphs) - len(chosen)


def _find_opened_plugins(context: Context) -> dict[str, list[tuple[LoadedObject, str]]]:
    """Return, by entry point, the objects that open a plugin, with the path of the plugin."""
    found: dict[str, list[tuple[LoadedObject, str]]] = {}
    for plugin in context.plugins.values():
        for opener in context.openers.find_by_name(plugin.entry):
            opened = found.setdefault(opener.process.entry, [])
            opened.append((opener.caller, plugin.entry))
    return found
