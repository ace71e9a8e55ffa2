"""BF1xx, of what is opened at run time and of LD_LIBRARY_PATH."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.dlopen import RECOMMENDED, REQUIRED, DlopenFeature, find_dlopen_callers
from bundle_fix.loader.objects import BUNDLE, HOST, MISSING, LoadedObject
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity


def openers(context: Context, path: str) -> Iterator[tuple[Process, LoadedObject]]:
    """The processes that have the object at ``path``, and the object in each."""
    for process in (*context.programs.values(), *context.plugins.values()):
        for mapped in process.objects:
            if mapped.path == path and mapped.origin == BUNDLE:
                yield process, mapped


def _opened(context: Context, path: str, feature: DlopenFeature) -> Resolution | None:
    """The best that opening ``feature`` comes to in any process that has the object at ``path``."""
    ranks = {BUNDLE: 0, HOST: 1}
    found: list[Resolution] = [
        context.deployment.dlopen(process, name, opener)
        for process, opener in openers(context, path)
        for name in feature.sonames
    ]
    return min(found, key=lambda n: ranks.get(n.result.origin, 2), default=None)


def find_not_opened(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names that are opened at run time, are in the pack, and lead elsewhere."""
    for name in context.policy.dlopen:
        yield from _declared(rule, context, name)
    yield from _noted(rule, context)


def _declared(rule: Rule, context: Context, name: str) -> Iterator[Finding]:
    """What comes of a name that the spec says is opened, in the objects that may open it.

    Where none has the name in it, any may be the one that opens it: the best of them counts.
    """
    bundle = context.bundle
    strings = {path: context.library_strings.get(path, set()) for path in context.dlopen_importers}
    could = [
        p
        for p in find_dlopen_callers(strings, name)
        if bundle.find_providers(name, bundle.images[p])
    ]
    feature = DlopenFeature((name,), REQUIRED)
    found = {path: need for path in could if (need := _opened(context, path, feature)) is not None}
    lost = {path: need for path, need in found.items() if need.result.origin != BUNDLE}
    if len(lost) < len(found) and not any(name in strings[path] for path in lost):
        return
    for path, need in lost.items():
        provided = bundle.find_providers(name, bundle.images[path])[0]
        yield rule.make_finding(
            path,
            f"opens {name}, as [closure] dlopen says; the pack has {provided}, but"
            f" {need.result.path or 'nothing'} is opened",
            severity=Severity.ERROR,
            opened=[name],
            trace=describe_trace(need.trace),
        )


def _noted(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names in ELF dlopen metadata notes that are in the pack and lead to the host."""
    for path, features in context.dlopen_notes.items():
        for feature in features:
            need = _opened(context, path, feature)
            image = context.bundle.images[path]
            provided = [p for n in feature.sonames for p in context.bundle.find_providers(n, image)]
            if need is not None and need.result.origin != BUNDLE and provided:
                yield rule.make_finding(
                    path,
                    f"opens {_names(feature)}; the pack has {provided[0]}, but"
                    f" {need.result.path or 'nothing'} is opened",
                    severity=_severity(context, path, feature),
                    opened=list(feature.sonames),
                    priority=feature.priority,
                    trace=describe_trace(need.trace),
                )


def find_missing(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names opened at run time that neither the pack nor the host's list has."""
    for name in context.policy.dlopen:
        if name not in context.bundle.paths_by_name and not context.is_on_host(name):
            yield rule.make_finding(
                "", f"{name} is opened at run time, but is neither in the pack nor expected on"
                " the host", needed=name,
            )  # fmt: skip
    yield from _noted_missing(rule, context)


def _noted_missing(rule: Rule, context: Context) -> Iterator[Finding]:
    """Names in ELF dlopen metadata notes that neither the pack nor the host has."""
    for path, features in context.dlopen_notes.items():
        image = context.bundle.images[path]
        for feature in features:
            if feature.priority not in (REQUIRED, RECOMMENDED):
                continue
            need = _opened(context, path, feature)
            provided = any(context.bundle.find_providers(name, image) for name in feature.sonames)
            if provided or (need is not None and need.result.origin == HOST):
                continue
            purpose = f", for {feature.description}" if feature.description else ""
            yield rule.make_finding(
                path,
                f"opens {_names(feature)} at run time{purpose}, but it is neither in the pack nor"
                " expected on the host",
                severity=_severity(context, path, feature),
                opened=list(feature.sonames),
                priority=feature.priority,
            )


def _severity(context: Context, path: str, feature: DlopenFeature) -> Severity:
    """How bad it is that a feature is not there: what is not required does without it."""
    if feature.priority != REQUIRED:
        return Severity.NOTE
    return Severity.ERROR if path in context.loaded_at_start else context.plugin_severity


def _names(feature: DlopenFeature) -> str:
    return " or ".join(feature.sonames[:4])


def find_carried(rule: Rule, context: Context) -> Iterator[Finding]:
    """Objects that import dlopen and carry names that the pack could satisfy."""
    for path, names in context.library_strings.items():
        image = context.bundle.images[path]
        noted = {n for feature in context.dlopen_notes.get(path, ()) for n in feature.sonames}
        own = context.names_by_library.get(path, set()) | set(image.needed) | noted
        could = sorted(n for n in names - own if _could_be(context, n, path))
        if could:
            outcomes = _outcomes(context, path, could)
            yield rule.make_finding(
                path,
                f"imports dlopen and carries {_told(could, outcomes)}",
                opened=could,
                found=outcomes,
            )


def _could_be(context: Context, name: str, path: str) -> bool:
    """Whether the pack has the name; what the spec says of it is judged by other rules."""
    provided = context.bundle.find_providers(name, context.bundle.images[path])
    return bool(provided) and name not in context.policy.dlopen


def _outcomes(context: Context, path: str, names: list[str]) -> Mapping[str, str]:
    """What opening each name comes to: in the first process that has the object."""
    first = next(openers(context, path), None)
    if first is None:
        return {}
    process, opener = first
    needs = {name: context.deployment.dlopen(process, name, opener).result for name in names}
    return {
        name: o.path if o.origin == BUNDLE and o.path else o.origin for name, o in needs.items()
    }


def _told(names: list[str], outcomes: Mapping[str, str]) -> str:
    words = {HOST: "the host's would be opened", MISSING: "not found"}
    told = [f"{n} ({words.get(outcomes[n], outcomes[n])})" if n in outcomes else n for n in names]
    return join_names(told)


RULES = (
    Rule(
        "BF108", "opened-by-name", Severity.NOTE,
        "An object imports dlopen and carries the name of a library that the pack has.",
        "What is opened at run time is searched like what is needed, but no linker lists it:"
        " whether the pack's copy is found shows only when it is opened.",
        "If it is opened, say so in [closure] dlopen; 'bundle-fix why' shows where it leads.",
        "lib/libhdfs.so imports dlopen and carries the string libjvm.so, which the pack has "
        "in jre/lib/server.",
        find_carried,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF109", "dlopen-missing", Severity.ERROR,
        "A library that is opened at run time is neither in the pack nor expected on the host.",
        "dlopen() fails when the program first wants it, long after the start.",
        "Put the library into the pack, or declare that the host provides it.",
        "[closure] dlopen names libsasl2.so.3, and the pack does not have it.",
        find_missing,
    ),
    Rule(
        "BF111", "opens-host-copy", Severity.WARNING,
        "A library that is said to be opened at run time is in the pack, but is not the one that"
        " is opened.",
        "dlopen() searches as for a needed name, by the RPATH or RUNPATH of the object that calls"
        " it.",
        "Give the object a RUNPATH that leads to the library.",
        "lib/libsystemd.so says in its .note.dlopen that it opens libzstd.so.1; lib/ has "
        "it, but no RUNPATH leads there.",
        find_not_opened,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
