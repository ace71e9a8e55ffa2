"""Privileged programs: the loader ignores ``$ORIGIN`` in them (ld.so(8))."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from msgspec.structs import replace

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.process import Resolution
from bundle_fix.loader.runpath import list_runpath_entries
from bundle_fix.loader.search.steps import Outcome, SearchRule
from bundle_fix.plan.requests import RepairKind

FIX_PRIVILEGED_PROGRAM = (
    "Remove the set-uid or set-gid bit, or the capabilities, which a service manager can grant"
    " instead (AmbientCapabilities in systemd). Or install the pack at a fixed path, with an"
    " absolute RUNPATH that only root can write to."
)


def list_refused_entries(needs: Iterable[Resolution]) -> list[str]:
    """Return the search path entries, each once, that the loader ignored in a privileged program.

    With musl an entry is the whole search path.
    """
    rules = (SearchRule.RPATH, SearchRule.RUNPATH)
    steps = (step for need in needs for step in need.result.trace if step.via in rules)
    refused = (step.entry for step in steps if step.outcome is Outcome.SECURE_EXECUTION)
    return list(dict.fromkeys(refused))


def find_intended_prefix(context: Context, path: str, entry: str) -> str | None:
    """Return where a pack is to be installed so that an absolute entry leads into it, or None.

    ``/opt/agent/lib`` of a privileged program leads to ``lib`` of a pack that is installed at
    ``/opt/agent``. Ordinary programs should use ``$ORIGIN``, so their entries count for nothing.
    """
    if not entry.startswith("/") or not context.bundle.find_privileges(path):
        return None
    entry = posixpath.normpath(entry)
    libraries = context.bundle.list_libraries()
    directories = {posixpath.dirname(library) for library in libraries} - {""}
    matching = [directory for directory in directories if entry.endswith(f"/{directory}")]
    longest = max(matching, key=len, default=None)
    return None if longest is None else entry.removesuffix(f"/{longest}") or "/"


def find_prefix_for_name(context: Context, need: Resolution) -> str | None:
    """Return where a pack is to be installed so that a privileged program finds a name, or None.

    It is None as well if the host is known: then the search shows whether the name is found.
    """
    path, image = need.requester.path or "", need.requester.image
    if image is None or context.deployment.view.host is not None:
        return None
    tree = context.bundle.tree
    for entry in list_runpath_entries(image):
        prefix = find_intended_prefix(context, path, entry)
        if prefix is not None:
            inside = posixpath.relpath(posixpath.join(entry, need.name), prefix)
            if inside in tree.nodes:
                return prefix
    return None


def adapt_finding(bundle: Bundle, finding: Finding, repair: RepairKind | None) -> Finding:
    """Return ``finding``, as not fixable if only ``$ORIGIN`` in a privileged program could fix it.

    Args:
        bundle: the checked bundle.
        finding: a finding of any rule.
        repair: the repair of the rule.
    """
    is_about_path = finding.fixable and repair is RepairKind.FIND_NAME
    if not is_about_path or not bundle.find_privileges(finding.path):
        return finding
    return replace(finding, fixable=False, hint=FIX_PRIVILEGED_PROGRAM)
