"""BF1xx: copies for better processors (``glibc-hwcaps``), which shadow the plain ones.

Source: ld.so(8), "glibc Hardware capabilities": every folder is searched in its
``glibc-hwcaps/<level>/`` first.
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
from bundle_fix.model.tree import resolve_path
from bundle_fix.policy.severity import Severity

FOLDER = "glibc-hwcaps"


class _Copy(NamedTuple):
    """A copy for one level: where it is, its real file, and that of the plain one beside it."""

    path: str
    level: str
    file: str
    plain: str | None


def _copies(context: Context) -> Iterator[_Copy]:
    bundle = context.bundle
    for path in bundle.tree.nodes:
        folder, _, inside = path.rpartition(f"{FOLDER}/")
        level, _, name = inside.partition("/")
        file = resolve_path(bundle.tree, path) if FOLDER in path and name else None
        if "/" not in name and isinstance(file, str) and file in bundle.images:
            plain = resolve_path(bundle.tree, posixpath.join(folder, name))
            known = isinstance(plain, str) and plain in bundle.images
            yield _Copy(path, level, file, str(plain) if known else None)


def find_shadows(rule: Rule, context: Context) -> Iterator[Finding]:
    """Copies that are not what they shadow, or whose own needs lead elsewhere."""
    needed = {name for image in context.bundle.images.values() for name in image.needed}
    levels = set()
    for copy in _copies(context):
        levels.add(copy.level)
        if posixpath.basename(copy.path) in needed and copy.plain not in (None, copy.file):
            yield from _differing(rule, context, copy)
    yield from _led_elsewhere(rule, context, levels)


def _differing(rule: Rule, context: Context, copy: _Copy) -> Iterator[Finding]:
    bundle, plain = context.bundle, copy.plain or ""
    image, other = bundle.images[copy.file], bundle.images[plain]
    if image.architecture != other.architecture:
        message, severity = f"is for {image.machine}: it is passed over", Severity.NOTE
    elif image.soname != other.soname:
        message, severity = (
            f"has {_soname(image.soname)} in the place of {other.soname}",
            Severity.ERROR,
        )
    elif lost := sorted(map(decode_name, _defined(context, plain) - _defined(context, copy.file))):
        message, severity = f"lacks {join_names(lost)}", Severity.ERROR
    elif _version(copy.file) != _version(plain):
        message, severity = "is another version", Severity.WARNING
    else:
        return
    yield rule.make_finding(
        copy.path,
        f"takes the place of {plain} on {copy.level} processors, but {message}",
        severity=severity,
        soname=posixpath.basename(copy.path),
        files=[copy.file, plain],
        level=copy.level,
    )  # fmt: skip


def _soname(soname: str | None) -> str:
    return f"the soname {soname}" if soname else "no soname"


def _defined(context: Context, path: str) -> frozenset[bytes]:
    return context.facts.read_symbol_table(path).defined


def _version(path: str) -> str:
    """What the name of a real file says of its version."""
    return posixpath.basename(path).partition(".so")[2]


def _led_elsewhere(rule: Rule, context: Context, levels: set[str]) -> Iterator[Finding]:
    """What copies need, where that is in the pack and found from the plain ones alone."""
    host, told = context.host, set()
    if not isinstance(host, AdversarialHost):
        return  # A real host has one processor, and every need was followed for it.
    for level in sorted(levels & {name for names in LEVELS.values() for name in names}):
        world = Deployment(context.bundle, replace(host, level=level), context.environment)
        for entry in context.programs:
            for need in world.map_process(entry).resolutions:
                requester, image = need.requester.path or "", need.requester.image
                if (
                    FOLDER not in requester
                    or need.result.origin is ObjectOrigin.BUNDLE
                    or image is None
                ):
                    continue
                provided = context.bundle.find_providers(posixpath.basename(need.name), image)
                if provided and (requester, need.name) not in told:
                    told.add((requester, need.name))
                    yield rule.make_finding(
                        requester,
                        f"is loaded on {level} processors and needs {need.name}; the pack has"
                        f" {provided[0]}, but {need.result.path or 'nothing'} is loaded",
                        needed=need.name,
                        program=entry,
                        trace=describe_trace(need.result.trace),
                    )


RULES = (
    Rule(
        "BF113", "hwcaps-shadow", Severity.ERROR,
        "A copy in glibc-hwcaps takes the place of another library than it stands for.",
        "The loader prefers it on better processors: the pack works where it was tested, and loads"
        " something else on the next machine.",
        "Build both copies from one source and version, with one soname; in $ORIGIN of the copy"
        " its own folder is meant.",
        "lib/glibc-hwcaps/x86-64-v3/libcodec.so.2 is 2.1, and lib/libcodec.so.2 is 2.3.",
        find_shadows,
    ),
)  # fmt: skip
