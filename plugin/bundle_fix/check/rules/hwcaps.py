"""BF113: copies of libraries for newer processors, in ``glibc-hwcaps`` directories.

The loader searches ``glibc-hwcaps/<level>/`` below a directory before the directory itself, if the
processor has the level. The copy outside ``glibc-hwcaps`` is called the plain one.

Source: ld.so(8), "glibc Hardware capabilities".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.cpu import LEVELS
from bundle_fix.loader.hosts.host import AdversarialHost
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.library_names import get_library_version
from bundle_fix.model.tree import resolve_path
from bundle_fix.plan.provider import HWCAPS_DIRECTORY
from bundle_fix.policy.severity import Severity


class _HwcapsCopy(NamedTuple):
    """A copy of a library for one processor level.

    ``path`` may be a symlink; ``file`` is its target, and ``plain`` the target of the plain copy.
    """

    path: str
    level: str
    file: str
    plain: str | None


def _iter_copies(context: Context) -> Iterator[_HwcapsCopy]:
    bundle = context.bundle
    for path in bundle.tree.nodes:
        directory, _, inside = path.rpartition(f"{HWCAPS_DIRECTORY}/")
        level, _, name = inside.partition("/")
        file = resolve_path(bundle.tree, path) if HWCAPS_DIRECTORY in path and name else None
        if "/" not in name and isinstance(file, str) and file in bundle.images:
            plain = resolve_path(bundle.tree, posixpath.join(directory, name))
            is_elf = isinstance(plain, str) and plain in bundle.images
            yield _HwcapsCopy(path, level, file, str(plain) if is_elf else None)


def find_wrong_hwcaps_copies(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the copies that cannot replace the plain one, or do not find the pack's libraries."""
    needed = context.bundle.needed_names
    levels = set()
    for copy in _iter_copies(context):
        levels.add(copy.level)
        if posixpath.basename(copy.path) in needed and copy.plain not in (None, copy.file):
            yield from _compare_with_plain(rule, context, copy)
    yield from _find_unbundled_needs(rule, context, levels)


def _compare_with_plain(rule: Rule, context: Context, copy: _HwcapsCopy) -> Iterator[Finding]:
    """Yield a finding if a copy cannot replace the plain one; the first difference decides."""
    bundle, plain = context.bundle, copy.plain or ""
    image, other = bundle.images[copy.file], bundle.images[plain]
    if image.architecture != other.architecture:
        message, severity = f"the loader skips it: it is for {image.machine}", Severity.NOTE
    elif image.soname != other.soname:
        message = f"its soname is {image.soname or 'missing'}, not {other.soname or 'missing'}"
        severity = Severity.ERROR
    elif missing := _find_missing_symbols(context, copy.file, plain):
        message, severity = f"it does not define {join_names(missing)}", Severity.ERROR
    elif get_library_version(copy.file) != get_library_version(plain):
        message, severity = "it is another version", Severity.WARNING
    else:
        return
    yield rule.make_finding(
        copy.path,
        f"is meant to replace {plain} on {copy.level} processors, but {message}",
        severity=severity,
        soname=posixpath.basename(copy.path),
        files=[copy.file, plain],
        level=copy.level,
    )  # fmt: skip


def _find_missing_symbols(context: Context, path: str, plain: str) -> list[str]:
    """Return the symbols that the plain copy defines and the copy at ``path`` does not."""
    defined = context.facts.read_exports(path).names
    return sorted(map(decode_name, context.facts.read_exports(plain).names - defined))


def _find_unbundled_needs(rule: Rule, context: Context, levels: set[str]) -> Iterator[Finding]:
    """Yield the needed names of copies that the pack provides, but that are not found from them.

    The RUNPATH of a copy is often that of the plain one, but its ``$ORIGIN`` is another directory.
    """
    host, reported = context.host, set()
    if not isinstance(host, AdversarialHost):
        return  # The processor of a real host is known: BF101 and BF102 check what it loads.
    for level in sorted(levels & {name for names in LEVELS.values() for name in names}):
        deployment = Deployment(context.bundle, replace(host, level=level), context.environment)
        for entry in context.programs:
            for need in deployment.map_process(entry).resolutions:
                requester, image = need.requester.path or "", need.requester.image
                if (
                    HWCAPS_DIRECTORY not in requester
                    or need.result.origin is ObjectOrigin.BUNDLE
                    or image is None
                ):
                    continue
                provided = context.bundle.find_providers(posixpath.basename(need.name), image)
                if provided and (requester, need.name) not in reported:
                    reported.add((requester, need.name))
                    yield rule.make_finding(
                        requester,
                        f"needs {need.name} on {level} processors; the pack has {provided[0]}, but"
                        f" {need.result.path or 'nothing'} is loaded",
                        needed=need.name,
                        program=entry,
                        trace=describe_trace(need.result.trace),
                    )


RULES = (
    Rule(
        "BF113", "wrong-hwcaps-copy", Severity.ERROR,
        "A library in glibc-hwcaps cannot replace the plain copy of the library.",
        "The loader prefers the library in glibc-hwcaps on processors of its level. The pack may"
        " work on the machine where it was tested and fail on another one.",
        "Build both copies from the same source, with the same soname. $ORIGIN in the RUNPATH of a"
        " copy is the copy's own directory.",
        "lib/glibc-hwcaps/x86-64-v3/libcodec.so.2 is version 2.1, but lib/libcodec.so.2 is version"
        " 2.3.",
        find_wrong_hwcaps_copies,
    ),
)  # fmt: skip
