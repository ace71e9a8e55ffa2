"""BF307 and BF308: allocators and libraries that dlopen(3) adds to a running process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import find_memory_providers, is_allocator
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.policy.severity import Severity


class _DlopenName(NamedTuple):
    """A name that an object of a process may open, and the source of the name."""

    name: str
    caller: LoadedObject
    source: str
    severity: Severity


def find_dlopened_allocators(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the allocators that dlopen loads, by their names or for the libraries it opens."""
    yield from _find_by_name(rule, context)
    yield from _find_by_plugin(rule, context)


def _find_by_name(rule: Rule, context: Context) -> Iterator[Finding]:
    for entry, providers in context.memory_providers.items():
        process = providers.process
        known = {loaded.label for loaded in process.objects}
        for opened in _find_dlopen_names(context, process):
            found = context.deployment.dlopen(process, opened.name, opened.caller).result
            if found.label in known or not is_allocator(context.facts, found):
                continue
            if context.is_brought_by_dependency(found):
                continue
            known.add(found.label)
            caller = opened.caller.label
            by = "" if caller == entry else f" ({caller} calls dlopen)"
            yield rule.make_finding(
                entry,
                f"loads the allocator {found.label} at run time{by}, when malloc is already bound"
                f" to {_describe_heap(context, entry)}",
                severity=opened.severity,
                dlopen=opened.name,
                caller=caller,
                source=opened.source,
            )


def _find_dlopen_names(context: Context, process: Process) -> Iterator[_DlopenName]:
    program = process.main
    for name in context.policy.dlopen:
        yield _DlopenName(name, program, "[closure] dlopen", Severity.WARNING)
    for loaded in process.list_bundled_objects():
        for feature in context.dlopen_notes.get(loaded.label, ()):
            for name in feature.sonames:
                yield _DlopenName(name, loaded, ".note.dlopen", Severity.WARNING)
        for name in sorted(context.library_strings.get(loaded.label, ())):
            # A string alone does not prove that the object opens the library.
            if name in context.bundle.paths_by_name:
                yield _DlopenName(name, loaded, "string", Severity.NOTE)


def _describe_heap(context: Context, entry: str) -> str:
    """Return the object that provides malloc when a program starts."""
    heap = context.memory_providers[entry].find_heap(b"malloc")
    return heap.label if heap and heap.origin is ObjectOrigin.BUNDLE else "the C library"


def _find_by_plugin(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the plugins that need an allocator which no program loads."""
    known = {
        loaded.label
        for providers in context.memory_providers.values()
        for loaded in providers.process.objects
    }
    for entry, process in context.plugins.items():
        for allocator in find_memory_providers(context.facts, process).find_allocators():
            is_known = allocator.label in known or allocator.label == entry
            if not is_known and not context.is_brought_by_dependency(allocator):
                yield rule.make_finding(
                    entry,
                    f"loads the allocator {allocator.label} into the process that opens it, when"
                    " malloc is already bound to another one",
                    needed=allocator.name,
                    needed_by=allocator.needed_by,
                )


def find_dlmopen_importers(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects that import dlmopen."""
    for path in context.dlopen_importers:
        undefined = context.facts.read_undefined_symbols(path)
        if any(symbol.name == b"dlmopen" for symbol in undefined):
            yield rule.make_finding(path, "imports dlmopen")


RULES = (
    Rule(
        "BF307", "dlopened-allocator", Severity.WARNING,
        "An allocator is loaded only when a library is opened at run time.",
        "The loader binds malloc once, when the program starts. The new allocator is either not"
        " used at all, or only by a part of the process.",
        "Link the program with the allocator, or set LD_PRELOAD in its start script; or build the"
        " library without the allocator.",
        "plugins/codec.so needs libjemalloc.so.2, but bin/server, which opens it, does not.",
        find_dlopened_allocators,
    ),
    Rule(
        "BF308", "dlmopen", Severity.NOTE,
        "An object imports dlmopen.",
        "dlmopen(3) can load a library with a second copy of libc in a namespace of its own. The"
        " library then uses malloc of that copy, even if the program uses tcmalloc, and a block"
        " that is passed between them crashes in free().",
        "Open the libraries with dlopen, unless they share no memory with the program.",
        "lib/libodbc.so calls dlmopen(LM_ID_NEWLM, name, RTLD_NOW).",
        find_dlmopen_importers,
    ),
)  # fmt: skip
