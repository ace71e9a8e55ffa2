"""The resolved needed names of a pack's objects, as rules and their evidence use them."""

from __future__ import annotations

from collections.abc import Sequence

from bundle_fix.check.context import Context
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import SearchStep
from bundle_fix.policy.severity import Severity


def find_worst_resolutions(
    context: Context, origin: ObjectOrigin
) -> dict[tuple[str, str], tuple[Severity, Resolution, list[Process]]]:
    """Return the resolutions to ``origin``, by the path of the requester and the needed name.

    Each comes with its worst severity in any process, and with the processes in which it occurs.
    """
    found: dict[tuple[str, str], tuple[Severity, Resolution, list[Process]]] = {}
    for severity, process, need in context.resolutions:
        if need.result.origin is not origin or need.requester.path is None:
            continue
        key = (need.requester.path, need.name)
        worst, first, processes = found.get(key, (severity, need, []))
        processes.append(process)
        is_worse = severity.rank < worst.rank
        found[key] = (severity, need, processes) if is_worse else (worst, first, processes)
    return found


def describe_trace(trace: Sequence[SearchStep]) -> list[dict[str, str]]:
    """Return the steps of a search for the evidence of a finding."""
    return [
        {
            "place": step.place,
            "via": step.via.value,
            "entry": step.entry,
            "verdict": step.verdict,
            "outcome": step.outcome.value,
        }
        | ({"owner": step.owner} if step.owner else {})
        | ({"detail": step.detail} if step.detail else {})
        for step in trace
    ]
