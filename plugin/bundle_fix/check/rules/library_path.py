"""BF107: libraries of the pack that LD_LIBRARY_PATH can replace."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace, find_worst_resolutions
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.objects import HOST
from bundle_fix.policy.severity import Severity


def find_library_path(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names of the pack that LD_LIBRARY_PATH leads elsewhere."""
    for (path, name), (severity, need, processes) in find_worst_resolutions(context, HOST).items():
        image = need.requester.image
        if need.result.via != "ld_library_path" or image is None:
            continue
        provided = context.bundle.find_providers(posixpath.basename(name), image)
        if provided and not is_part_of_libc(posixpath.basename(name)):
            yield rule.make_finding(
                path,
                f"needs {name}, which the pack has as {provided[0]}; LD_LIBRARY_PATH can lead"
                " elsewhere",
                severity=severity,
                needed=name,
                programs=sorted({process.entry for process in processes}),
                trace=describe_trace(need.result.trace),
            )


RULES = (
    Rule(
        "BF107", "library-path-wins", Severity.ERROR,
        "LD_LIBRARY_PATH can take the place of a library of the pack.",
        "The loader asks LD_LIBRARY_PATH before RUNPATH, and start scripts and users set it:"
        " another copy of the library is loaded than the pack was tested with.",
        "Pin the library: `pin = true` in the spec makes it needed by its path.",
        "start.sh exports LD_LIBRARY_PATH=/opt/old/lib; with --env hostile that is assumed, "
        "and libtcmalloc.so.4 is not pinned.",
        find_library_path,
    ),
)  # fmt: skip
