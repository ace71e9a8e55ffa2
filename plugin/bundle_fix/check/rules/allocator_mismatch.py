"""BF304 and BF305: blocks freed by another heap than allocated them, and hidden allocators."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import (
    ALLOCATION_FUNCTIONS,
    NEW_AND_DELETE,
    MemoryProviders,
    read_undefined_names,
)
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name
from bundle_fix.elf.scan.static_allocator import (
    MALLOC_NAMES,
    find_allocator_message,
    find_static_allocator,
)
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.policy.severity import Severity

OPERATOR_TEXTS = {
    b"_Znw": "operator new", b"_Zna": "operator new[]",
    b"_Zdl": "operator delete", b"_Zda": "operator delete[]",
}  # fmt: skip
"""Readable names of C++ operators, by the first characters of their mangled names."""


def find_mismatched_heaps(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs that free blocks with another heap than allocated them."""
    for entry, providers in context.memory_providers.items():
        if not providers.has_replacement():
            continue
        mismatches = [
            (allocate, source, free, target)
            for allocate, free in _find_pairs(context, providers)
            if (source := providers.find_heap(allocate))
            and (target := providers.find_heap(free))
            and source is not target
        ]
        if mismatches:
            allocate, source, free, target = mismatches[0]
            more = len(mismatches) - 1
            yield rule.make_finding(
                entry,
                f"uses {_format_function(allocate)} of {source.label}, but"
                f" {_format_function(free)} of {target.label}"
                + (f" (and {more} more such {'pair' if more == 1 else 'pairs'})" if more else ""),
                pairs=[
                    [decode_name(one), source.label, decode_name(other), target.label]
                    for one, source, other, target in mismatches
                ],
                providers=providers.make_evidence(),
            )


def _find_pairs(context: Context, providers: MemoryProviders) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of a function that allocates and one that frees, if the process uses both."""
    objects = [loaded for loaded in providers.process.objects if loaded.image is not None]
    # The C library itself uses malloc and free, as in strdup() and getline().
    used = {b"malloc", b"free"}.union(
        *(read_undefined_names(context.facts, loaded) for loaded in objects)
    )
    yield from ((allocate, b"free") for allocate in ALLOCATION_FUNCTIONS if allocate in used)
    if b"malloc_usable_size" in used:
        yield b"malloc", b"malloc_usable_size"
    for new, deletes in NEW_AND_DELETE.items():
        yield from ((new, delete) for delete in deletes if new in used and delete in used)


def _format_function(name: bytes) -> str:
    return OPERATOR_TEXTS.get(name[:4], decode_name(name))


def find_hidden_allocators(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files with a statically linked allocator that other objects do not use."""
    reported = set()
    for entry, providers in context.memory_providers.items():
        allocators = providers.find_allocators()
        for loaded in providers.process.list_bundled_objects():
            if loaded.image is None or loaded in allocators or loaded.label in reported:
                continue
            found = _find_hidden_allocator(context, loaded, is_alone=not allocators)
            if found is None:
                continue
            severity, names = found
            reported.add(loaded.label)
            other = f"; the process of {entry} uses {allocators[0].label}" if allocators else ""
            yield rule.make_finding(
                loaded.label,
                f"contains a statically linked allocator ({', '.join(names)}){other}",
                severity=severity,
                symbols=names,
                program=entry,
                providers=providers.make_evidence(),
            )


def _find_hidden_allocator(
    context: Context, loaded: LoadedObject, *, is_alone: bool
) -> tuple[Severity, list[str]] | None:
    """Return the severity of a hidden allocator and its traces in the file, or None.

    An allocator whose functions have their own names (``je_malloc``) is harmless if it is the only
    one in addition to the C library, because its callers name it explicitly.
    """
    names = context.facts.read_fact(loaded, find_static_allocator)
    if names >= set(MALLOC_NAMES):
        severity = Severity.WARNING if is_alone else Severity.ERROR
        return severity, sorted(map(decode_name, names))
    if is_alone:
        return None
    own_names = names - set(MALLOC_NAMES)
    if own_names:
        return Severity.WARNING, sorted(map(decode_name, own_names))
    # A stripped file has no local symbols, but it still contains the allocator's error messages.
    message = context.facts.read_fact(loaded, find_allocator_message)
    if not message:
        return None
    return Severity.WARNING, [f'its message "{decode_name(message).strip()}"']


RULES = (
    Rule(
        "BF304", "mismatched-heaps", Severity.ERROR,
        "A process allocates blocks with one allocator and frees them with another.",
        "An allocator that frees a block of another one aborts the program: 'free(): invalid"
        " pointer', 'Attempt to free invalid pointer'.",
        "Let one object define all functions of the malloc family. The functions that an allocator"
        " lacks are taken from the next object in lookup order.",
        "libold.so.1 defines malloc and free, but not aligned_alloc. bin/server gets a block from"
        " aligned_alloc of the C library and passes it to free of libold.so.1.",
        find_mismatched_heaps,
    ),
    Rule(
        "BF305", "hidden-allocator", Severity.WARNING,
        "A file contains a statically linked allocator that the other objects of its process do"
        " not use.",
        "A block that is passed between the file and another object (strdup, getline, std::string)"
        " is freed by another allocator than the one that made it.",
        "Link the file with the shared allocator, or export its malloc and free to all objects.",
        "lib/libengine.so is linked with libjemalloc.a and -Wl,--exclude-libs,ALL, and bin/server"
        " needs libtcmalloc.so.4.",
        find_hidden_allocators,
    ),
)  # fmt: skip
