"""BF108, BF109 and BF111: libraries that are loaded with dlopen(3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.check.context import Context
from bundle_fix.check.facts.resolutions import describe_trace, find_search_root
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.dlopen import RECOMMENDED, REQUIRED, DlopenFeature, find_dlopen_callers
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

ORIGIN_RANKS = {ObjectOrigin.BUNDLE: 0, ObjectOrigin.HOST: 1, ObjectOrigin.MISSING: 2}
"""Origins of a library, the best first."""


def find_host_copies_of_dlopen(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries that the pack provides, but that dlopen does not find in it."""
    for name in context.policy.dlopen:
        yield from _check_declared_name(rule, context, name)
    yield from _check_notes(rule, context)


def _check_declared_name(rule: Rule, context: Context, name: str) -> Iterator[Finding]:
    """Yield a finding for each object that may open a name of the policy and does not find it.

    If no object contains the name as a string, any of them may be the one that opens it; then
    there is a finding only if none of them finds the pack's copy.
    """
    bundle = context.bundle
    strings = {path: context.library_strings.get(path, set()) for path in context.dlopen_importers}
    callers = [
        path
        for path in find_dlopen_callers(strings, name)
        if bundle.find_providers(name, bundle.images[path])
    ]
    feature = DlopenFeature((name,), REQUIRED)
    needs = {path: need for path in callers if (need := _open_feature(context, path, feature))}
    failed = {
        path: need for path, need in needs.items() if need.result.origin is not ObjectOrigin.BUNDLE
    }
    if len(failed) < len(needs) and not any(name in strings[path] for path in failed):
        return
    for path, need in failed.items():
        provided = bundle.find_providers(name, bundle.images[path])[0]
        yield rule.make_finding(
            path,
            f"opens {name}, as declared in [closure] dlopen; the pack has {provided}, but"
            f" {need.result.path or 'nothing'} is opened",
            severity=Severity.ERROR,
            dlopen=[name],
            trace=describe_trace(need.trace),
        )


def _check_notes(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the features of dlopen notes that the pack provides and dlopen finds elsewhere."""
    for path, features in context.dlopen_notes.items():
        image = context.bundle.images[path]
        for feature in features:
            need = _open_feature(context, path, feature)
            named = {n: context.bundle.find_providers(n, image) for n in feature.sonames}
            name, provided = next(((n, paths) for n, paths in named.items() if paths), ("", ()))
            if need is not None and need.result.origin is not ObjectOrigin.BUNDLE and provided:
                yield rule.make_finding(
                    path,
                    f"opens {_format_sonames(feature)}; the pack has {provided[0]}, but"
                    f" {need.result.path or 'nothing'} is opened",
                    severity=_get_severity(context, path, feature),
                    root=find_search_root(context.bundle.tree, provided, name),
                    dlopen=list(feature.sonames),
                    priority=feature.priority,
                    trace=describe_trace(need.trace),
                )


def _open_feature(context: Context, path: str, feature: DlopenFeature) -> Resolution | None:
    """Return the best result of opening a feature in any process that loads the object at ``path``.

    Returns:
        None if no process loads the object.
    """
    needs: list[Resolution] = [
        context.deployment.dlopen(process, name, caller)
        for process, caller in _find_callers(context, path)
        for name in feature.sonames
    ]
    return min(needs, key=lambda need: ORIGIN_RANKS[need.result.origin], default=None)


def _find_callers(context: Context, path: str) -> Iterator[tuple[Process, LoadedObject]]:
    """Yield the processes that load the object at ``path``, and the object in each of them."""
    for process in (*context.programs.values(), *context.plugins.values()):
        for loaded in process.objects:
            if loaded.path == path and loaded.origin is ObjectOrigin.BUNDLE:
                yield process, loaded


def find_missing_dlopen_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries opened at run time that neither the pack nor the host provides."""
    for name in context.policy.dlopen:
        if name not in context.bundle.paths_by_name and not context.is_on_host(name):
            yield rule.make_finding(
                "",
                f"{name} is opened at run time, but is neither in the pack nor expected on the"
                " host",
                root=Root(RootKind.LIBRARY, name),
                needed=name,
            )
    for path, features in context.dlopen_notes.items():
        for feature in features:
            # A feature that is only suggested is normally absent.
            if feature.priority in (REQUIRED, RECOMMENDED):
                yield from _check_presence(rule, context, path, feature)


def _check_presence(
    rule: Rule, context: Context, path: str, feature: DlopenFeature
) -> Iterator[Finding]:
    """Yield a finding if neither the pack nor the host provides a feature of a dlopen note."""
    image = context.bundle.images[path]
    if any(context.bundle.find_providers(name, image) for name in feature.sonames):
        return
    need = _open_feature(context, path, feature)
    if need is None or need.result.origin is not ObjectOrigin.HOST:
        purpose = f", for {feature.description}" if feature.description else ""
        yield rule.make_finding(
            path,
            f"opens {_format_sonames(feature)} at run time{purpose}, but it is neither in the pack"
            " nor expected on the host",
            severity=_get_severity(context, path, feature),
            root=Root(RootKind.LIBRARY, feature.sonames[0]),
            dlopen=list(feature.sonames),
            priority=feature.priority,
        )


def _get_severity(context: Context, path: str, feature: DlopenFeature) -> Severity:
    """Return the severity of a feature that is not found; only a required one is a problem."""
    if feature.priority != REQUIRED:
        return Severity.NOTE
    return context.get_load_severity(path)


def _format_sonames(feature: DlopenFeature) -> str:
    return " or ".join(feature.sonames[:4])


def find_library_names(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the objects that import dlopen and contain the names of libraries in the pack."""
    for path, strings in context.library_strings.items():
        image = context.bundle.images[path]
        noted = {n for feature in context.dlopen_notes.get(path, ()) for n in feature.sonames}
        own = context.names_by_library.get(path, set()) | set(image.needed) | noted
        # Rules BF109 and BF111 check the names that the policy declares.
        names = sorted(
            name
            for name in strings - own - set(context.policy.dlopen)
            if context.bundle.find_providers(name, image)
        )
        if names:
            results = _open_names(context, path, names)
            yield rule.make_finding(
                path,
                f"imports dlopen and contains the string {_format_results(names, results)}",
                dlopen=names,
                found={
                    name: r.label if r.origin is ObjectOrigin.BUNDLE else r.origin.value
                    for name, r in results.items()
                },
            )


def _open_names(context: Context, path: str, names: list[str]) -> Mapping[str, LoadedObject]:
    """Return the object to which each name resolves in the first process with ``path``.

    The result is empty if no process loads the object at ``path``.
    """
    first = next(_find_callers(context, path), None)
    if first is None:
        return {}
    process, caller = first
    return {name: context.deployment.dlopen(process, name, caller).result for name in names}


def _format_results(names: list[str], results: Mapping[str, LoadedObject]) -> str:
    texts = [f"{n} ({_describe_result(results[n])})" if n in results else n for n in names]
    return join_names(texts)


def _describe_result(result: LoadedObject) -> str:
    if result.origin is ObjectOrigin.HOST:
        return "the host's copy would be opened"
    return "not found" if result.origin is ObjectOrigin.MISSING else result.label


RULES = (
    Rule(
        "BF108", "dlopen-by-name", Severity.NOTE,
        "An object imports dlopen and contains the name of a library in the pack.",
        "dlopen() searches for a library like the loader for a needed name, but no tool lists the"
        " names. A wrong search path shows only when the library is opened.",
        "If the object opens the library, add its name to [closure] dlopen. 'bundle-fix why' shows"
        " which file is found.",
        "lib/libhdfs.so imports dlopen and contains the string libjvm.so; the pack has"
        " jre/lib/server/libjvm.so.",
        find_library_names,
        applies_to=RELOCATABLE,
    ),
    Rule(
        "BF109", "dlopen-missing", Severity.ERROR,
        "A library that is opened at run time is neither in the pack nor expected on the host.",
        "dlopen() fails when the program opens the library, which may be long after the start.",
        "Add the library to the pack, or declare that the host provides it.",
        "[closure] dlopen lists libsasl2.so.3, and the pack does not contain it.",
        find_missing_dlopen_names,
        repair=RepairKind.FIND_NAME,
    ),
    Rule(
        "BF111", "dlopen-host-copy", Severity.WARNING,
        "The pack provides a library that is opened at run time, but dlopen does not find this"
        " copy.",
        "dlopen() uses the RPATH or RUNPATH of the object that calls it, as for a needed name.",
        "Add a RUNPATH that leads to the library to the object.",
        "The .note.dlopen of lib/libsystemd.so lists libzstd.so.1. The pack contains it in lib/,"
        " but the object has no RUNPATH to it.",
        find_host_copies_of_dlopen,
        applies_to=RELOCATABLE,
        repair=RepairKind.FIND_NAME,
    ),
)  # fmt: skip
