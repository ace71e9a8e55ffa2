"""The resolved needed names of a pack's objects, as rules and their evidence use them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from itertools import chain
from typing import Any

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Root, RootKind
from bundle_fix.loader.hosts.libc import Libc, is_part_of_libc
from bundle_fix.loader.hosts.rtld import find_linked_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import SearchStep
from bundle_fix.model.tree import Tree, resolve_path
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


def is_name_of_other_libc(need: Resolution, libc: Libc) -> bool:
    """Return whether a name belongs to another C library, with which the requester was linked.

    Args:
        need: the needed name.
        libc: the C library of the process.
    """
    linked = find_linked_libc(need.requester.image) if need.requester.image else None
    is_other = linked is not None and linked.libc is not libc
    name = posixpath.basename(need.name)
    return is_other and is_part_of_libc(name) and not is_part_of_libc(name, libc)


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


def find_search_root(tree: Tree, provided: Sequence[str], name: str) -> Root | None:
    """Return why a search for a needed name does not find the libraries that provide it.

    It is the missing symlink, if no file of the pack has that name, else the directory of the file.
    It is None for a name with a slash, for which the loader does not search.
    """
    if "/" in name:
        return None
    path = find_copy_with_name(tree, provided, name)
    if path is None:
        symlink = posixpath.join(posixpath.dirname(provided[0]), name)
        return Root(RootKind.MISSING_SYMLINK, symlink)
    return Root(RootKind.DIRECTORY, posixpath.dirname(path) or ".")


def find_copy_with_name(tree: Tree, provided: Sequence[str], name: str) -> str | None:
    """Return the file of ``provided`` with a file name, or else a symlink of that name to one."""
    files = (path for path in provided if posixpath.basename(path) == name)
    symlinks = (
        path
        for path, _ in tree.iter_symlinks()
        if posixpath.basename(path) == name and resolve_path(tree, path) in provided
    )
    return next(chain(files, symlinks), None)


def make_need_evidence(need: Resolution, processes: Sequence[Process]) -> dict[str, Any]:
    """Return the evidence of a finding about a needed name in ``processes``."""
    return {
        "needed": need.name,
        "needed_by": need.requester.path,
        "programs": sorted({process.entry for process in processes}),
        "chain": [o.path or o.name for o in need.requester.walk_load_chain()][::-1],
        "trace": describe_trace(need.result.trace),
    }
