"""BF207: search paths that the loader ignores, because the program is privileged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.privileges import (
    FIX_PRIVILEGED_PROGRAM,
    find_prefix_for_name,
    list_refused_entries,
)
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.policy.severity import Severity
from bundle_fix.storage.privileges import Privilege


def find_privileged_programs(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the privileged programs whose entries with ``$ORIGIN`` the loader ignores."""
    for path, process in context.programs.items():
        image, node = context.bundle.images[path], context.bundle.tree.nodes[path]
        privileges = context.bundle.find_privileges(path)
        needs = [need for need in process.resolutions if need.requester is process.main]
        entries = list_refused_entries(needs)
        if not privileges or not entries:
            continue
        missing = [
            need
            for need in needs
            if need.result.origin is not ObjectOrigin.BUNDLE
            and context.bundle.find_providers(need.name, image)
        ]
        names = [need.name for need in missing]
        # An absolute entry may lead to the same libraries, if the pack is installed there.
        prefixes = {find_prefix_for_name(context, need) for need in missing}
        yield rule.make_finding(
            path,
            f"{_describe_privileges(privileges)}, so the loader does not follow its entry"
            f" {entries[0]}" + (f" to {join_names(names, 3)}" if missing else ""),
            severity=Severity.ERROR if None in prefixes else Severity.WARNING,
            mode=f"{node.metadata.mode:04o}",
            privileges=[privilege.value for privilege in privileges],
            entries=entries,
            needed=names,
        )


def _describe_privileges(privileges: Sequence[Privilege]) -> str:
    """Return a predicate such as "is set-uid and has file capabilities"."""
    bits = " and ".join(p.value for p in privileges if p is not Privilege.CAPABILITIES)
    capabilities = Privilege.CAPABILITIES.value if Privilege.CAPABILITIES in privileges else ""
    parts = (f"is {bits}" if bits else "", f"has {capabilities}" if capabilities else "")
    return " and ".join(part for part in parts if part)


RULES = (
    Rule(
        "BF207", "origin-in-privileged-program", Severity.ERROR,
        "A program with a set-uid or set-gid bit or file capabilities depends on $ORIGIN.",
        "In such programs the loader expands $ORIGIN only if it leads to a trusted system directory"
        " (ld.so(8), secure-execution mode). The libraries of the pack are not found, or the host's"
        " copies are loaded.",
        FIX_PRIVILEGED_PROGRAM,
        "bin/sandbox has mode 4755 and the RUNPATH $ORIGIN/../lib.",
        find_privileged_programs,
    ),
)  # fmt: skip
