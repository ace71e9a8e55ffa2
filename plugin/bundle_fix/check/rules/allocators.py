"""BF3xx: who provides ``malloc`` in a process."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import MemoryProviders, find_memory_providers, is_libc
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.objects import HOST, LoadedObject
from bundle_fix.policy.severity import Severity


def names_of_allocator(mapped: LoadedObject) -> set[str]:
    """The names by which a spec may mean an allocator: as needed, as a file, by soname."""
    soname = mapped.image.soname if mapped.image else None
    names = {posixpath.basename(mapped.name), posixpath.basename(mapped.label), soname or ""}
    return names - {""}


def find_two(rule: Rule, context: Context) -> Iterator[Finding]:
    """Processes with more than one allocator: first programs, then what plugins bring along."""
    for entry, heaps in context.memory_providers.items():
        yield from _two(rule, entry, heaps, rule.severity)
    told = {
        frozenset(_paths(heaps.find_allocators())) for heaps in context.memory_providers.values()
    }
    for entry, process in context.plugins.items():
        heaps = find_memory_providers(context.facts, process)
        if frozenset(_paths(heaps.find_allocators())) not in told:
            yield from _two(rule, entry, heaps, context.plugin_severity)


def _two(rule: Rule, entry: str, heaps: MemoryProviders, severity: Severity) -> Iterator[Finding]:
    found = heaps.find_allocators()
    if len(found) > 1:
        names = [_told(mapped, entry) for mapped in found]
        yield rule.make_finding(
            entry,
            f"has {len(found)} allocators in its process: {', '.join(names)}",
            severity=severity,
            allocators=_described(found),
            providers=heaps.make_evidence(),
        )


def _paths(found: Sequence[LoadedObject]) -> list[str]:
    return [mapped.label for mapped in found]


def _told(mapped: LoadedObject, entry: str) -> str:
    if mapped.label == entry:
        return f"{entry} itself (linked in)"
    return mapped.label + _by(mapped, entry)


def _by(mapped: LoadedObject, entry: str) -> str:
    """Who needs an object, where that is not the program itself."""
    return f" (needed by {mapped.needed_by})" if mapped.needed_by not in ("", entry) else ""


def _described(found: Sequence[LoadedObject]) -> list[dict[str, Any]]:
    return [{"path": m.label, "origin": m.origin, "needed_by": m.needed_by} for m in found]


def find_behind_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that come behind the C library in lookup order, and so are never asked."""
    for entry, heaps in context.memory_providers.items():
        found, order = heaps.find_allocators(), list(heaps.process.objects)
        first = next(iter(heaps.providers.get(b"malloc", ())), None)
        if found and first is not None and is_libc(first):
            yield rule.make_finding(
                entry,
                f"finds malloc in {posixpath.basename(first.name)} before it gets to"
                f" {found[0].label}{_by(found[0], entry)}",
                order=_paths(order),
                providers=heaps.make_evidence(),
            )


def find_unexpected(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that the spec does not name, or none of those that it does in any program."""
    expected = context.policy.allocators
    if not expected:
        return
    seen = False
    for entry, heaps in context.memory_providers.items():
        for mapped in heaps.find_allocators():
            seen = True
            if not names_of_allocator(mapped) & set(expected):
                yield rule.make_finding(
                    entry,
                    f"takes malloc from {mapped.label}, which [check] allocators does not name",
                    allocator=mapped.label,
                    expected=list(expected),
                    providers=heaps.make_evidence(),
                )
    if not seen and context.programs:
        entry = next(iter(context.programs))
        others = len(context.programs) - 1
        also = f", and so {'do' if others > 1 else 'does'} {others} more" if others else ""
        yield rule.make_finding(
            entry,
            f"takes malloc from the C library{also}; [check] allocators wants {join_names(expected)}",
            severity=Severity.WARNING,
            expected=list(expected),
        )


def find_from_host(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that are the host's; that the pack's own is not found is BF102's error."""
    for entry, heaps in context.memory_providers.items():
        for mapped in heaps.find_allocators():
            if mapped.origin != HOST:
                continue
            image = heaps.process.objects[0].image
            named = posixpath.basename(mapped.name)
            provided = context.bundle.find_providers(named, image) if image else ()
            declared = any(fnmatchcase(named, p) for p in context.policy.host)
            yield rule.make_finding(
                entry,
                f"takes malloc from the host's {mapped.label}{_by(mapped, entry)}"
                + (f", not from the pack's {provided[0]}" if provided else ""),
                severity=Severity.NOTE if declared and not provided else Severity.WARNING,
                hint="Add the link or the RUNPATH that leads to the pack's own copy: see BF102."
                if provided
                else None,
                allocator=mapped.label,
                needed=mapped.name,
                providers=heaps.make_evidence(),
            )


RULES = (
    Rule(
        "BF301", "two-allocators", Severity.ERROR,
        "Two objects of one process provide malloc and free.",
        "A block that one made and the other is asked to free ends the program, often much later:"
        " in free(), at a checkpoint or at exit.",
        "Keep one: drop the other from the needed names, or make all of them need the same copy.",
        "bin/server needs libtcmalloc.so.4 and, by way of libhdfs.so, libjemalloc.so.2.",
        find_two,
    ),
    Rule(
        "BF302", "allocator-behind-libc", Severity.ERROR,
        "The C library comes before the allocator in lookup order.",
        "The allocator is loaded but never asked: libc's malloc answers.",
        "Link the program itself with the allocator, before everything else that needs libc.so.6.",
        "bin/server needs libc.so.6 first and libtcmalloc.so.4 second.",
        find_behind_libc,
    ),
    Rule(
        "BF303", "unexpected-allocator", Severity.ERROR,
        "A process takes malloc from an object that [check] allocators does not name.",
        "The pack was tested with another allocator.",
        "Link the expected one, or correct [check] allocators.",
        "[check] allocators names libtcmalloc.so.4, and bin/tool takes malloc from "
        "libjemalloc.so.2.",
        find_unexpected,
    ),
    Rule(
        "BF306", "allocator-from-host", Severity.WARNING,
        "A process takes its allocator from the host.",
        "Every host has another version of it, or none: the one that the pack was tested with"
        " is not the one that runs.",
        "Bundle the allocator, with a RUNPATH that leads to it; or declare that the host"
        " provides it.",
        "bin/server needs libtcmalloc.so.4, and the pack leaves it to the host.",
        find_from_host,
    ),
)  # fmt: skip
