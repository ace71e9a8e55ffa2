"""BF3xx: who provides ``malloc`` in a process."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import ERROR, Finding, Rule
from bundle_fix.loader.objects import HOST, Mapped
from bundle_fix.loader.process import Process

KNOWN = ("libtcmalloc", "libjemalloc", "libmimalloc", "libhoard", "libtbbmalloc_proxy", "libumem")
"""Allocators known by name, for copies on the host, which cannot be looked into."""


def allocators(context: Context, process: Process) -> list[Mapped]:
    """The objects of a process that provide ``malloc`` and ``free``, in lookup order.

    The C library's own, the last resort of every process, does not count.
    """
    return [
        mapped
        for mapped in process.objects
        if (mapped.origin == HOST and posixpath.basename(mapped.name).startswith(KNOWN))
        or mapped.path in context.allocator_files
    ]


def _name(mapped: Mapped) -> str:
    return mapped.path or mapped.name


def find_two(rule: Rule, context: Context) -> Iterator[Finding]:
    """Processes with more than one allocator."""
    for entry, process in context.programs.items():
        found = allocators(context, process)
        if len(found) > 1:
            names = [_name(mapped) for mapped in found]
            yield rule.finding(
                entry,
                f"has {len(found)} allocators in its process: {', '.join(names)}",
                allocators=[
                    {"path": _name(m), "origin": m.origin, "needed_by": m.needed_by} for m in found
                ],
            )


def find_behind_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that come behind the C library in lookup order, and so are never asked."""
    for entry, process in context.programs.items():
        order = list(process.objects)
        libc = next((i for i, m in enumerate(order) if m.name.startswith("libc.so.")), None)
        found = allocators(context, process)
        if libc is not None and found and order.index(found[0]) > libc:
            yield rule.finding(
                entry,
                f"finds malloc in {order[libc].name} before it gets to {_name(found[0])}",
                order=[_name(mapped) for mapped in order],
            )


def find_unexpected(rule: Rule, context: Context) -> Iterator[Finding]:
    """Allocators that the spec does not name."""
    expected = context.expectations.allocators
    for entry, process in context.programs.items() if expected else ():
        for mapped in allocators(context, process):
            soname = mapped.image.soname if mapped.image else None
            names = {posixpath.basename(mapped.name), posixpath.basename(_name(mapped)), soname}
            if not names & set(expected):
                yield rule.finding(
                    entry,
                    f"takes malloc from {_name(mapped)}, which [check] allocators does not name",
                    allocator=_name(mapped),
                    expected=list(expected),
                )


RULES = (
    Rule(
        "BF301", "two-allocators", ERROR,
        "Two objects of one process provide malloc and free.",
        "A block that one made and the other is asked to free ends the program, often much later:"
        " in free(), at a checkpoint or at exit.",
        "Keep one: drop the other from the needed names, or make all of them need the same copy.",
        "bin/server needs libtcmalloc.so.4 and, by way of libhdfs.so, libjemalloc.so.2.",
        find_two,
    ),
    Rule(
        "BF302", "allocator-behind-libc", ERROR,
        "The C library comes before the allocator in lookup order.",
        "The allocator is loaded but never asked: libc's malloc answers.",
        "Link the allocator before everything else that needs libc.so.6.",
        "bin/server needs libc.so.6 first and libtcmalloc.so.4 second.",
        find_behind_libc,
    ),
    Rule(
        "BF303", "unexpected-allocator", ERROR,
        "A process takes malloc from an object that [check] allocators does not name.",
        "The pack was tested with another allocator.",
        "Link the expected one, or add the name to [check] allocators.",
        "[check] allocators names libtcmalloc.so.4, and bin/tool takes malloc from "
        "libjemalloc.so.2.",
        find_unexpected,
    ),
)  # fmt: skip
