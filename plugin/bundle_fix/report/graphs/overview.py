"""Make the overview of an artifact: a graph for each entry point, and the sizes of its files."""

from __future__ import annotations

from bundle_fix.check.context import Context
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.pipelines.target import ArtifactOnTarget
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.graphs.choice import MAX_EDGES
from bundle_fix.report.graphs.drawn_report import Overview
from bundle_fix.report.graphs.measure import measure_files
from bundle_fix.report.graphs.process_graphs import make_process_graphs

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
    graphs = make_process_graphs(
        processes, context.deployment, max(MAX_EDGES // artifacts, MIN_EDGES), opened
    )
    return Overview(tuple(graphs), len(processes) - len(graphs), measure_files(context.bundle))


def _find_opened_plugins(context: Context) -> dict[str, list[tuple[LoadedObject, str]]]:
    """Return, by entry point, the objects that open a plugin, with the path of the plugin."""
    found: dict[str, list[tuple[LoadedObject, str]]] = {}
    for plugin in context.plugins.values():
        for opener in context.openers.find_by_name(plugin.entry):
            opened = found.setdefault(opener.process.entry, [])
            opened.append((opener.caller, plugin.entry))
    return found
