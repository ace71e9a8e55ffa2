"""BF112: parts of the C library that are loaded from the pack."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import make_need_evidence
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.loader.hosts.libc import LOADER_NAME, is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity


def find_bundled_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the parts of the C library that are loaded from the pack by the host's loader."""
    users: dict[str, list[tuple[Severity, Resolution, Process]]] = {}
    for severity, process, need in context.resolutions:
        if need.result.origin is ObjectOrigin.BUNDLE and is_part_of_libc(
            posixpath.basename(need.name), context.get_libc(process.entry)
        ):
            users.setdefault(need.result.path or "", []).append((severity, need, process))
    # A pack with its own loader may start its programs with it, which a script can do.
    has_loader = any(LOADER_NAME.fullmatch(name) for name in context.bundle.paths_by_name)
    for path, uses in users.items():
        severity = min((severity for severity, _, _ in uses), key=lambda severity: severity.rank)
        _, need, _ = uses[0]
        yield rule.make_finding(
            path,
            f"is loaded instead of the host's {need.name}, which {need.requester.path} needs",
            severity=Severity.WARNING if has_loader else severity,
            **make_need_evidence(need, [process for _, _, process in uses]),
        )


RULES = (
    Rule(
        "BF112", "bundled-libc", Severity.ERROR,
        "A part of the C library is loaded from the pack.",
        "The kernel starts programs with the host's loader, whose path is absolute. The loader"
        " works only with the C library of its own build; with another version the program crashes"
        " before main.",
        "Remove the file from the pack; every target has its own C library.",
        "A script copied every file that ldd lists, including libc.so.6, and bin/server has the"
        " RUNPATH $ORIGIN/../lib.",
        find_bundled_libc,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
