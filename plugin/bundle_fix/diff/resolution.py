"""Compare the resolutions of needed names in two packs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from bundle_fix.check.facts.resolutions import describe_trace
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rule import Rule
from bundle_fix.check.rules.differences import (
    NEW_FROM_HOST,
    NOW_FROM_HOST,
    NOW_NOT_FOUND,
    OTHER_FILE,
)
from bundle_fix.diff.matching import FileMatches
from bundle_fix.diff.snapshot import ProcessNeed, Snapshot
from bundle_fix.loader.hosts.libc import is_installed_with_libc, is_part_of_libc
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.model.content import has_same_bytes
from bundle_fix.model.library_names import strip_version_numbers
from bundle_fix.policy.severity import Severity

ORIGIN_RANK = {ObjectOrigin.BUNDLE: 0, ObjectOrigin.HOST: 1, ObjectOrigin.MISSING: 2}
"""Order of origins, the best first: a pack should provide its own libraries."""
RULE_BY_ORIGIN = {ObjectOrigin.HOST: NOW_FROM_HOST, ObjectOrigin.MISSING: NOW_NOT_FOUND}


class ResolutionChange(Struct, frozen=True):
    """One needed name of one object that resolves to another file than before.

    Attributes:
        needed: the needed name.
        old_needed: the name in the old pack; another one if the library has a new soname.
        needed_by: path of the object in the new pack.
        programs: the entry points of the processes with this change, by their new paths.
        old: the object found in the old pack.
        new: the object found in the new pack.
        severity: severity of the finding.
        rule: rule of the finding; None if the change is an improvement.
    """

    needed: str
    old_needed: str
    needed_by: str
    programs: tuple[str, ...]
    old: LoadedObject
    new: LoadedObject
    severity: Severity
    rule: Rule | None


def compare_resolutions(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> tuple[ResolutionChange, ...]:
    """Return the changed resolutions of the needs that both packs have, regressions first."""
    found: dict[tuple[object, ...], tuple[ProcessNeed, ProcessNeed, list[str], str]] = {}
    for requester, name, old_name, old_needs in _list_common_needs(old, new, matches):
        for after in new.needs[requester, name]:
            before = _find_counterpart(after, old_needs, matches)
            if before is None:
                continue
            results = before.resolution.result, after.resolution.result
            if not _is_different(old, results[0], new, results[1], matches):
                continue
            # Processes with the same change share one record, with the worst severity.
            key = (requester, name, *((result.origin, result.path) for result in results))
            _, worst, entries, _ = found.setdefault(key, (before, after, [], old_name))
            entries.append(after.entry)
            if after.severity.rank < worst.severity.rank:
                found[key] = (before, after, entries, old_name)
    changes = [_make_change(new, matches, *fields) for fields in found.values()]
    changes.sort(key=lambda c: (c.rule is None, c.severity.rank, c.needed_by, c.needed))
    return tuple(changes)


def _list_common_needs(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> Iterator[tuple[str, str, str, tuple[ProcessNeed, ...]]]:
    """Yield requester and name of each need of the new pack, with its old name and old needs."""
    by_requester: dict[str, dict[str, tuple[ProcessNeed, ...]]] = {}
    for (requester, name), needs in old.needs.items():
        by_requester.setdefault(matches.new_of.get(requester, requester), {})[name] = needs
    for requester, name in new.needs:
        old_needs = by_requester.get(requester, {})
        old_name = name if name in old_needs else _find_old_name(requester, name, old_needs, new)
        if old_name in old_needs:
            yield requester, name, old_name, old_needs[old_name]


def _find_old_name(requester: str, name: str, old_names: Iterable[str], new: Snapshot) -> str:
    """Return the old name that ``name`` replaces, the same with other version numbers, or ""."""
    pattern = strip_version_numbers(name)
    similar = [n for n in old_names if strip_version_numbers(n) == pattern]
    unused = [n for n in similar if (requester, n) not in new.needs]
    return unused[0] if len(unused) == 1 else ""


def _find_counterpart(
    need: ProcessNeed, old_needs: tuple[ProcessNeed, ...], matches: FileMatches
) -> ProcessNeed | None:
    """Return the old need in the same process, or in any process if all found the same file."""
    for old_need in old_needs:
        if matches.new_of.get(old_need.entry) == need.entry:
            return old_need
    results = {(n.resolution.result.origin, n.resolution.result.path) for n in old_needs}
    return old_needs[0] if len(results) == 1 else None


def _is_different(
    old: Snapshot, before: LoadedObject, new: Snapshot, after: LoadedObject, matches: FileMatches
) -> bool:
    if before.origin != after.origin:
        return True
    if before.origin is ObjectOrigin.MISSING or before.path is None or after.path is None:
        return False
    if before.origin is ObjectOrigin.HOST:
        # The paths on an unknown host are only guesses.
        return new.context.host.files is not None and before.path != after.path
    if matches.new_of.get(before.path) == after.path:
        return False
    return not _has_same_content(old, before.path, new, after.path)


def _has_same_content(old: Snapshot, path: str, new: Snapshot, other: str) -> bool:
    return has_same_bytes(old.bundle.get_content(path), new.bundle.get_content(other))


def _make_change(
    new: Snapshot,
    matches: FileMatches,
    before: ProcessNeed,
    after: ProcessNeed,
    entries: list[str],
    old_name: str,
) -> ResolutionChange:
    was, now, name = before.resolution.result, after.resolution.result, after.resolution.name
    severity, rule = after.severity, RULE_BY_ORIGIN.get(now.origin, OTHER_FILE)
    is_better = ORIGIN_RANK[now.origin] < ORIGIN_RANK[was.origin]
    # The C library must match the dynamic loader, which is the host's (PT_INTERP).
    is_better |= (
        now.origin is ObjectOrigin.HOST
        and was.origin is ObjectOrigin.BUNDLE
        and is_part_of_libc(name)
    )
    libc = new.context.get_libc(after.entry)
    if now.origin is ObjectOrigin.HOST and new.context.host.is_expected(name, libc):
        severity = Severity.NOTE
    elif (
        rule is OTHER_FILE and now.origin is ObjectOrigin.BUNDLE and was.path not in matches.new_of
    ):
        # The old file has been removed, probably so that the other one is loaded.
        severity = Severity.WARNING
    return ResolutionChange(
        needed=name,
        old_needed=old_name,
        needed_by=after.resolution.requester.label,
        programs=tuple(dict.fromkeys(entries)),
        old=was,
        new=now,
        severity=severity,
        rule=None if is_better else rule,
    )


def find_worse_resolutions(
    old: Snapshot, new: Snapshot, changes: Iterable[ResolutionChange]
) -> Iterator[Finding]:
    """Yield a finding for each regression, and for each library newly needed from the host."""
    for change in changes:
        if change.rule is None:
            continue
        old_name = f" ({change.old_needed} before)" if change.old_needed != change.needed else ""
        yield change.rule.make_finding(
            change.needed_by,
            f"needs {change.needed}{old_name}, previously {_format_result(change.old)},"
            f" now {_format_result(change.new)}",
            severity=change.severity,
            root=_find_root(change),
            needed=change.needed,
            programs=list(change.programs),
            before=change.old.path,
            loaded=change.new.path,
            trace=describe_trace(change.new.trace),
        )
    yield from _find_new_from_host(old, new)


def _find_root(change: ResolutionChange) -> Root | None:
    if change.new.origin is ObjectOrigin.MISSING:
        return Root(RootKind.LIBRARY, change.needed)
    if change.new.origin is ObjectOrigin.HOST:
        return Root(RootKind.HOST_COPY, change.needed)
    return None


def _format_result(result: LoadedObject) -> str:
    if result.origin is ObjectOrigin.MISSING:
        return "not found" if result.path is None else f"missing: {result.path}"
    return f"{'the host' if result.origin is ObjectOrigin.HOST else 'the pack'}'s {result.path}"


def _find_new_from_host(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    provided = {name for name, paths in old.bundle.paths_by_name.items() if paths}
    for (requester, name), needs in new.needs.items():
        resolution = needs[0].resolution
        if name in old.host_libraries or name in provided or name not in new.host_libraries:
            continue
        if (
            resolution.requester.origin is ObjectOrigin.HOST
            or resolution.result.origin is not ObjectOrigin.HOST
        ):
            continue
        libc = new.context.get_libc(needs[0].entry)
        if is_installed_with_libc(name, libc) or new.context.host.is_expected(name, libc):
            continue
        yield NEW_FROM_HOST.make_finding(
            requester,
            f"needs {name} from the host, unlike the old pack",
            hint=f"Add {name} to the pack, or pass --host-provides {name}.",
            root=Root(RootKind.HOST_LIBRARY, name),
            needed=name,
            loaded=resolution.result.path,
            programs=[need.entry for need in needs],
            trace=describe_trace(resolution.result.trace),
        )
