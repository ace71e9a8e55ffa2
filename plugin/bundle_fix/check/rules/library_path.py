"""BF107: libraries of the pack that LD_LIBRARY_PATH can replace."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace, find_worst_resolutions
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.policy.severity import Severity


def find_replaceable_libraries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed names of the pack that resolve through LD_LIBRARY_PATH."""
    worst = find_worst_resolutions(context, ObjectOrigin.HOST)
    for (path, name), (severity, need, processes) in worst.items():
        image = need.requester.image
        if need.result.via is not SearchRule.LD_LIBRARY_PATH or image is None:
            continue
        provided = context.bundle.find_providers(posixpath.basename(name), image)
        if provided and not is_part_of_libc(posixpath.basename(name)):
            yield rule.make_finding(
                path,
                f"needs {name}, which is {provided[0]} in the pack, but LD_LIBRARY_PATH is searched"
                " first",
                severity=severity,
                needed=name,
                programs=sorted({process.entry for process in processes}),
                trace=describe_trace(need.result.trace),
            )


RULES = (
    Rule(
        "BF107", "library-path-wins", Severity.ERROR,
        "LD_LIBRARY_PATH can replace a library of the pack.",
        "The loader searches LD_LIBRARY_PATH before RUNPATH (ld.so(8)). Start scripts and users set"
        " it, and then a copy of the library is loaded with which the pack was never tested.",
        "Pin the library: with `pin = true` in the spec, objects need it by its path.",
        "start.sh exports LD_LIBRARY_PATH=/opt/old/lib, and libtcmalloc.so.4 is not pinned. 'check"
        " --env hostile' assumes such a setting.",
        find_replaceable_libraries,
    ),
)  # fmt: skip
