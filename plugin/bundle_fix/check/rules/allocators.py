"""BF301 to BF303 and BF306: the allocator of a process."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.allocators import MemoryProviders, find_memory_providers, is_libc
from bundle_fix.check.findings import Finding, Root, RootKind, make_copies_root
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity


def find_multiple_allocators(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs with several allocators, then the plugins that load several."""
    reported = set()
    for entry, providers in context.memory_providers.items():
        reported.add(_get_labels(providers))
        yield from _check_number(rule, entry, providers, rule.severity)
    for entry, process in context.plugins.items():
        providers = find_memory_providers(context.facts, process)
        if _get_labels(providers) not in reported:
            yield from _check_number(rule, entry, providers, context.get_load_severity(entry))


def _get_labels(providers: MemoryProviders) -> frozenset[str]:
    return frozenset(allocator.label for allocator in providers.find_allocators())


def _check_number(
    rule: Rule, entry: str, providers: MemoryProviders, severity: Severity
) -> Iterator[Finding]:
    """Yield a finding if a process has several allocators."""
    allocators = providers.find_allocators()
    if len(allocators) > 1:
        names = ", ".join(_describe_allocator(allocator, entry) for allocator in allocators)
        yield rule.make_finding(
            entry,
            f"has {len(allocators)} allocators in its process: {names}",
            severity=severity,
            root=_choose_root(allocators),
            allocators=[
                {"path": a.label, "origin": a.origin.value, "needed_by": a.needed_by}
                for a in allocators
            ],
            providers=providers.make_evidence(),
        )


def _choose_root(allocators: Sequence[LoadedObject]) -> Root:
    """Return the host's allocator, which should not be in the process, or else all of them."""
    for allocator in allocators:
        if allocator.origin is ObjectOrigin.HOST:
            return Root(RootKind.HOST_COPY, allocator.name)
    return make_copies_root(a.label for a in allocators)


def _describe_allocator(allocator: LoadedObject, entry: str) -> str:
    if allocator.label == entry:
        return f"{entry} itself (statically linked)"
    return allocator.label + _format_requester(allocator, entry)


def _format_requester(loaded: LoadedObject, entry: str) -> str:
    """Return a remark on the object that needs ``loaded``; empty if it is the program itself."""
    return f" (needed by {loaded.needed_by})" if loaded.needed_by not in ("", entry) else ""


def find_allocators_after_libc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs whose allocator comes after the C library in lookup order."""
    for entry, providers in context.memory_providers.items():
        allocators = providers.find_allocators()
        first = next(iter(providers.providers.get(b"malloc", ())), None)
        if allocators and first is not None and is_libc(first):
            yield rule.make_finding(
                entry,
                f"uses malloc of {posixpath.basename(first.name)}, which comes before"
                f" {allocators[0].label} in lookup order{_format_requester(allocators[0], entry)}",
                order=[loaded.label for loaded in providers.process.objects],
                providers=providers.make_evidence(),
            )


def find_unexpected_allocators(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs with an allocator that the policy does not list.

    If no program has any allocator, there is one finding for the first program.
    """
    expected = context.policy.allocators
    if not expected:
        return
    has_allocator = False
    for entry, providers in context.memory_providers.items():
        for allocator in providers.find_allocators():
            has_allocator = True
            if not _get_names(allocator) & set(expected):
                yield rule.make_finding(
                    entry,
                    f"uses malloc of {allocator.label}, which is not listed in [check] allocators",
                    allocator=allocator.label,
                    expected=list(expected),
                    providers=providers.make_evidence(),
                )
    if not has_allocator and context.programs:
        others = len(context.programs) - 1
        also = f", like {format_count(others, 'other program')}" if others else ""
        yield rule.make_finding(
            next(iter(context.programs)),
            f"uses malloc of the C library{also}; [check] allocators requires"
            f" {join_names(expected)}",
            severity=Severity.WARNING,
            expected=list(expected),
        )


def _get_names(loaded: LoadedObject) -> set[str]:
    """Return the names that may stand for an object in [check] allocators.

    These are the needed name, the file name and the soname.
    """
    soname = loaded.image.soname if loaded.image else None
    names = {posixpath.basename(loaded.name), posixpath.basename(loaded.label), soname or ""}
    return names - {""}


def find_host_allocators(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs that use an allocator of the host."""
    for entry, providers in context.memory_providers.items():
        for allocator in providers.find_allocators():
            if allocator.origin != ObjectOrigin.HOST or context.is_brought_by_dependency(allocator):
                continue
            image = providers.process.main.image
            name = posixpath.basename(allocator.name)
            provided = context.bundle.find_providers(name, image) if image else ()
            is_declared = matches_any(name, context.policy.host)
            yield rule.make_finding(
                entry,
                f"uses malloc of the host's {allocator.label}{_format_requester(allocator, entry)}"
                + (f" instead of the pack's {provided[0]}" if provided else ""),
                severity=Severity.NOTE if is_declared and not provided else Severity.WARNING,
                hint="Add a symlink or a RUNPATH entry that leads to the pack's copy (see BF102)."
                if provided
                else None,
                root=Root(RootKind.HOST_COPY, allocator.name),
                allocator=allocator.label,
                needed=allocator.name,
                providers=providers.make_evidence(),
            )


RULES = (
    Rule(
        "BF301", "two-allocators", Severity.ERROR,
        "Several objects of one process provide malloc and free.",
        "If one allocator allocates a block and another one frees it, the program crashes in"
        " free(), often much later: at a checkpoint or at exit.",
        "Keep one allocator: remove the others from the needed names, or let all objects need the"
        " same file.",
        "bin/server needs libtcmalloc.so.4, and it needs libhdfs.so, which needs libjemalloc.so.2.",
        find_multiple_allocators,
    ),
    Rule(
        "BF302", "allocator-after-libc", Severity.ERROR,
        "The C library comes before the allocator in lookup order.",
        "The allocator is loaded but not used, because malloc is bound to the C library.",
        "Link the program itself with the allocator, before all libraries that need libc.so.6.",
        "bin/server needs libc.so.6 first and libtcmalloc.so.4 second.",
        find_allocators_after_libc,
    ),
    Rule(
        "BF303", "unexpected-allocator", Severity.ERROR,
        "A process uses an allocator that is not listed in [check] allocators.",
        "The pack was tested with another allocator.",
        "Link the program with the expected allocator, or correct [check] allocators.",
        "[check] allocators lists libtcmalloc.so.4, but bin/tool uses malloc of libjemalloc.so.2.",
        find_unexpected_allocators,
    ),
    Rule(
        "BF306", "allocator-from-host", Severity.WARNING,
        "A process uses an allocator of the host.",
        "Hosts have different versions of the allocator or none, so the program runs with another"
        " one than the tested one.",
        "Add the allocator to the pack, with a RUNPATH that leads to it; or declare that the host"
        " provides it.",
        "bin/server needs libtcmalloc.so.4, and the pack does not contain it.",
        find_host_allocators,
    ),
)  # fmt: skip
