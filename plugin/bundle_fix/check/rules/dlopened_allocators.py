"""BF3xx: allocators that arrive by dlopen, when malloc has long been answered by another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import find_memory_providers, is_allocator
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.scan.deepbind import opens_deepbound
from bundle_fix.loader.objects import BUNDLE, LoadedObject
from bundle_fix.loader.process import Process
from bundle_fix.policy.severity import Severity


class _Opening(NamedTuple):
    """A name that a program opens at run time: by which object, and how that is known."""

    name: str
    opener: LoadedObject
    known_from: str
    severity: Severity


def find_opened(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that a program opens by name."""
    for entry, heaps in context.memory_providers.items():
        told = {mapped.label for mapped in heaps.process.objects}
        for opening in _openings(context, heaps.process):
            found = context.deployment.dlopen(heaps.process, opening.name, opening.opener).result
            if found.label in told or not is_allocator(context.facts, found):
                continue
            told.add(found.label)
            by = "" if opening.opener.label == entry else f" (by {opening.opener.label})"
            yield rule.make_finding(
                entry,
                f"opens the allocator {found.label} at run time{by}, after {_first(context, entry)}"
                " has answered for malloc",
                severity=opening.severity,
                opened=opening.name,
                opener=opening.opener.label,
                known_from=opening.known_from,
            )


def _openings(context: Context, process: Process) -> Iterator[_Opening]:
    program = process.objects[0]
    for name in context.policy.dlopen:
        yield _Opening(name, program, "[closure] dlopen", Severity.WARNING)
    for mapped in process.list_bundled_objects():
        for feature in context.dlopen_notes.get(mapped.label, ()):
            for name in feature.sonames:
                yield _Opening(name, mapped, "its dlopen note", Severity.WARNING)
        for name in sorted(context.library_strings.get(mapped.label, ())):
            # That a name stands in a file does not say that it is opened.
            if name in context.bundle.paths_by_name:
                yield _Opening(name, mapped, "a string in it", Severity.NOTE)


def _first(context: Context, entry: str) -> str:
    """Who answers for malloc in a process."""
    found = context.memory_providers[entry].find_heap(b"malloc")
    return found.label if found and found.origin == BUNDLE else "the C library"


def find_plugins(rule: Rule, context: Context) -> Iterator[Finding]:
    """Libraries that are opened at run time and need an allocator that no program has."""
    mapped = {m.label for heaps in context.memory_providers.values() for m in heaps.process.objects}
    for entry, process in context.plugins.items():
        late = [
            allocator
            for allocator in find_memory_providers(context.facts, process).find_allocators()
            if allocator.label not in mapped and allocator.label != entry
        ]
        for allocator in late:
            yield rule.make_finding(
                entry,
                f"brings the allocator {allocator.label} into the process that opens it, after"
                " another has answered for malloc",
                needed=allocator.name,
                needed_by=allocator.needed_by,
            )


def find_late(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that arrive by dlopen: by name, or needed by what is opened."""
    yield from find_opened(rule, context)
    yield from find_plugins(rule, context)


def find_deepbound(rule: Rule, context: Context) -> Iterator[Finding]:
    """Objects that open libraries with RTLD_DEEPBIND."""
    for path in context.dlopen_importers:
        if context.facts.read_fact(path, opens_deepbound):
            yield rule.make_finding(path, "opens libraries with RTLD_DEEPBIND")


RULES = (
    Rule(
        "BF307", "late-allocator", Severity.WARNING,
        "An allocator is loaded only when a library is opened at run time.",
        "malloc is found once, when the program starts: the allocator is in memory and is not"
        " asked, or is asked by a part of the process while the rest keeps another.",
        "Link the program with it, or set LD_PRELOAD where the program is started; or build the"
        " library without it.",
        "plugins/codec.so needs libjemalloc.so.2, and bin/server, which opens it, does not.",
        find_late,
    ),
    Rule(
        "BF308", "deepbind", Severity.NOTE,
        "An object opens libraries with RTLD_DEEPBIND.",
        "What it opens prefers its own libraries to what the process has: it takes malloc from"
        " libc though the program has tcmalloc, and a block that crosses ends in free().",
        "Open them without it, unless they share no memory with the program.",
        "lib/libodbc.so calls dlopen(name, RTLD_NOW | RTLD_DEEPBIND).",
        find_deepbound,
    ),
)  # fmt: skip
