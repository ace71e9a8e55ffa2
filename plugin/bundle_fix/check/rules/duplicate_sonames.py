"""BF106: different files with one soname."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.plan.provider import HWCAPS_DIRECTORY
from bundle_fix.policy.severity import Severity


def find_duplicate_sonames(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed sonames of different files of one architecture."""
    bundle = context.bundle
    needed = bundle.needed_names
    by_soname: dict[tuple[object, str], list[str]] = {}
    for path in bundle.list_libraries():
        image = bundle.images[path]
        # Copies for other processor levels are meant to have the same soname (BF113).
        if image.soname and image.soname in needed and HWCAPS_DIRECTORY not in path:
            by_soname.setdefault((image.architecture, image.soname), []).append(path)
    for (_, soname), paths in by_soname.items():
        first, *others = paths
        different = [other for other in others if not bundle.has_same_bytes(first, other)]
        if different:
            yield rule.make_finding(
                first,
                f"has the soname {soname}, like the different file {', '.join(different)}",
                root=Root(RootKind.COPIES, soname),
                soname=soname,
                files=paths,
            )


RULES = (
    Rule(
        "BF106", "duplicate-soname", Severity.NOTE,
        "Two different files have the same soname, and an object needs it.",
        "The copy that a process loads depends on the search order and on the objects that are"
        " already loaded.",
        "Keep one of the files.",
        "lib/libssl.so.3 and lib/compat/libssl.so.3 differ, and bin/server needs libssl.so.3.",
        find_duplicate_sonames,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
