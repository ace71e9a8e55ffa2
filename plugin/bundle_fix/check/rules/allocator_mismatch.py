"""BF3xx: blocks that one heap gives and another takes back, and heaps that a file hides."""

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

SPOKEN = {
    b"_Znw": "operator new", b"_Zna": "operator new[]",
    b"_Zdl": "operator delete", b"_Zda": "operator delete[]",
}  # fmt: skip


def find_mismatched(rule: Rule, context: Context) -> Iterator[Finding]:
    """Processes in which a block comes from one heap and is given back to another."""
    for entry, heaps in context.memory_providers.items():
        if not heaps.has_replacement():
            continue
        pairs = [
            (give, giver, take, taker)
            for give, take in _pairs(context, heaps)
            if (giver := heaps.find_heap(give))
            and (taker := heaps.find_heap(take))
            and giver is not taker
        ]
        if pairs:
            give, giver, take, taker = pairs[0]
            more = len(pairs) - 1
            yield rule.make_finding(
                entry,
                f"takes {_spoken(give)} from {giver.label}, and {_spoken(take)} from {taker.label}"
                + (f" (and {more} more such {'pair' if more == 1 else 'pairs'})" if more else ""),
                pairs=[
                    [decode_name(g), one.label, decode_name(t), other.label]
                    for g, one, t, other in pairs
                ],
                providers=heaps.make_evidence(),
            )


def _pairs(context: Context, heaps: MemoryProviders) -> Iterator[tuple[bytes, bytes]]:
    """What gives blocks and what takes them back, as far as the process uses both."""
    known = [mapped for mapped in heaps.process.objects if mapped.image is not None]
    used = {b"malloc", b"free"}.union(
        *(read_undefined_names(context.facts, mapped) for mapped in known)
    )
    yield from ((give, b"free") for give in ALLOCATION_FUNCTIONS if give in used)
    if b"malloc_usable_size" in used:
        yield b"malloc", b"malloc_usable_size"
    for give, takes in NEW_AND_DELETE.items():
        yield from ((give, take) for take in takes if give in used and take in used)


def _spoken(name: bytes) -> str:
    return SPOKEN.get(name[:4], decode_name(name))


def find_static(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files with an allocator linked in that they do not offer to others."""
    told = set()
    for entry, heaps in context.memory_providers.items():
        shared = heaps.find_allocators()
        for mapped in heaps.process.list_bundled_objects():
            if mapped.image is None or mapped in shared or mapped.label in told:
                continue
            found = _linked_in(context, mapped, is_alone=not shared)
            if found is None:
                continue
            severity, names = found
            told.add(mapped.label)
            beside = f", beside {shared[0].label} in the process of {entry}" if shared else ""
            yield rule.make_finding(
                mapped.label,
                f"has an allocator of its own linked in ({', '.join(names)}){beside}",
                severity=severity,
                symbols=names,
                program=entry,
                providers=heaps.make_evidence(),
            )


def _linked_in(
    context: Context, mapped: LoadedObject, *, is_alone: bool
) -> tuple[Severity, list[str]] | None:
    """How bad the allocator is that a file hides, and what shows it.

    One under names of its own (``je_malloc``), and alone, is nobody's trouble: its user never
    mixes it up with the C library's.
    """
    names = context.facts.read_fact(mapped, find_static_allocator)
    listed = sorted(map(decode_name, names))
    if names >= set(MALLOC_NAMES):
        return Severity.WARNING if is_alone else Severity.ERROR, listed
    own = names - set(MALLOC_NAMES)
    if is_alone:
        return None
    if own:
        return Severity.WARNING, sorted(map(decode_name, own))
    message = context.facts.read_fact(mapped, find_allocator_message)
    return (
        (Severity.WARNING, [f'its message "{decode_name(message).strip()}"']) if message else None
    )


RULES = (
    Rule(
        "BF304", "mismatched-heaps", Severity.ERROR,
        "A process takes blocks from one allocator and gives them back to another.",
        "The one that is handed a foreign block ends the program: 'free(): invalid pointer',"
        " 'Attempt to free invalid pointer'.",
        "Let one object define all of them: an allocator that lacks some leaves these to the next"
        " one in lookup order.",
        "libold.so.1 defines malloc and free but no aligned_alloc, which the C library then"
        " answers; bin/server gives the block to libold's free.",
        find_mismatched,
    ),
    Rule(
        "BF305", "hidden-allocator", Severity.WARNING,
        "A file has an allocator linked in that others of its process do not see.",
        "What crosses from the file to others, or back (strdup, getline, std::string), is freed by"
        " another allocator than made it.",
        "Link the shared allocator instead, or let the file export its malloc and free to all.",
        "lib/libengine.so has libjemalloc.a linked in with -Wl,--exclude-libs,ALL, and bin/server"
        " needs libtcmalloc.so.4.",
        find_static,
    ),
)  # fmt: skip
