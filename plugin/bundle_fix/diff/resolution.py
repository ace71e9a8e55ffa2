"""Needed names that lead elsewhere than they did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.rules.differences import (
    NEW_FROM_HOST,
    NOW_FROM_HOST,
    NOW_NOT_FOUND,
    OTHER_FILE,
)
from bundle_fix.check.rules.resolution import trace_evidence
from bundle_fix.diff.matching import FileMatches, strip_version_numbers
from bundle_fix.diff.snapshot import ProcessNeed, Snapshot
from bundle_fix.loader.hosts.libc import is_installed_with_libc, is_part_of_libc
from bundle_fix.loader.objects import BUNDLE, HOST, MISSING, LoadedObject
from bundle_fix.model.content import has_same_bytes
from bundle_fix.policy.severity import Severity

ORIGIN_RANK = {BUNDLE: 0, HOST: 1, MISSING: 2}
RULE_BY_ORIGIN = {HOST: NOW_FROM_HOST, MISSING: NOW_NOT_FOUND}


class ResolutionChange(Struct, frozen=True):
    """One needed name of one object that leads elsewhere than it did.

    ``old_needed`` is the name that the object needed before, which differs where a library has a
    new soname; ``programs`` are the entry points in whose processes it does, by their new paths.
    """

    needed: str
    old_needed: str
    needed_by: str
    programs: tuple[str, ...]
    old: LoadedObject
    new: LoadedObject
    severity: Severity
    rule: Rule | None
    """What that is called where it is for the worse; None where it is for the better."""


def compare_resolutions(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> tuple[ResolutionChange, ...]:
    """The needs of objects that both packs have which lead elsewhere, those that fail first."""
    found: dict[tuple[object, ...], tuple[ProcessNeed, ProcessNeed, list[str], str]] = {}
    for requester, name, old_name, old_uses in _list_common_needs(old, new, matches):
        for use in new.uses[requester, name]:
            before = _find_counterpart(use, old_uses, matches)
            if before is None or not _is_different(old, before.need.result, new, use.need.result, matches):
                continue
            ends = before.need.result, use.need.result
            key = (requester, name, *((end.origin, end.path) for end in ends))
            _, worst, entries, _ = found.setdefault(key, (before, use, [], old_name))
            entries.append(use.entry)
            if use.severity.rank < worst.severity.rank:
                found[key] = (before, use, entries, old_name)
    changes = [_make_change(new, matches, *fields) for fields in found.values()]
    changes.sort(key=lambda r: (r.rule is None, r.severity.rank, r.needed_by, r.needed))
    return tuple(changes)


def _list_common_needs(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> Iterator[tuple[str, str, str, tuple[ProcessNeed, ...]]]:
    """Requester and name of the new pack's needs, with the name and the uses in the old one."""
    before: dict[str, dict[str, tuple[ProcessNeed, ...]]] = {}
    for (requester, name), uses in old.uses.items():
        before.setdefault(matches.new_of.get(requester, requester), {})[name] = uses
    for requester, name in new.uses:
        known = before.get(requester, {})
        old_name = name if name in known else _find_old_name(requester, name, known, new)
        if old_name in known:
            yield requester, name, old_name, known[old_name]


def _find_old_name(requester: str, name: str, known: Iterable[str], new: Snapshot) -> str:
    """The name that an object needed before in the place of ``name``, such as another version."""
    like = [n for n in known if strip_version_numbers(n) == strip_version_numbers(name)]
    free = [n for n in like if (requester, n) not in new.uses]
    return free[0] if len(free) == 1 else ""


def _find_counterpart(
    use: ProcessNeed, old_uses: tuple[ProcessNeed, ...], matches: FileMatches
) -> ProcessNeed | None:
    """The same need in the same process of the old pack, or in any where all led to one file."""
    for before in old_uses:
        if matches.new_of.get(before.entry) == use.entry:
            return before
    ends = {(b.need.result.origin, b.need.result.path) for b in old_uses}
    return old_uses[0] if len(ends) == 1 else None


def _is_different(
    old: Snapshot, before: LoadedObject, new: Snapshot, after: LoadedObject, matches: FileMatches
) -> bool:
    if before.origin != after.origin:
        return True
    if before.origin == MISSING or before.path is None or after.path is None:
        return False
    if before.origin == HOST:
        # Of an unknown host's files only the names are known.
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
    was_end, end, name = before.need.result, after.need.result, after.need.name
    severity, rule = after.severity, RULE_BY_ORIGIN.get(end.origin, OTHER_FILE)
    better = ORIGIN_RANK[end.origin] < ORIGIN_RANK[was_end.origin]
    # The C library must be the target's own.
    better |= end.origin == HOST and was_end.origin == BUNDLE and is_part_of_libc(name)
    if end.origin == HOST and new.context.host.is_expected(name):
        severity = Severity.NOTE
    elif rule is OTHER_FILE and end.origin == BUNDLE and was_end.path not in matches.new_of:
        # Whoever takes a copy away means another one to be loaded.
        severity = Severity.WARNING
    requester = after.need.requester.label
    programs = tuple(dict.fromkeys(entries))
    return ResolutionChange(
        name, old_name, requester, programs, was_end, end, severity, None if better else rule
    )


def find_worse_resolutions(
    old: Snapshot, new: Snapshot, resolved: Iterable[ResolutionChange]
) -> Iterator[Finding]:
    """A finding for every name that leads to something worse, and for what is newly left out."""
    for change in resolved:
        if change.rule is None:
            continue
        old_name = f" ({change.old_needed} before)" if change.old_needed != change.needed else ""
        yield change.rule.make_finding(
            change.needed_by,
            f"needs {change.needed}{old_name}, which was {_format_result(change.old)} and is now {_format_result(change.new)}",
            severity=change.severity,
            needed=change.needed,
            programs=list(change.programs),
            before=change.old.path,
            loaded=change.new.path,
            trace=trace_evidence(change.new.trace),
        )
    yield from _find_new_from_host(old, new)


def _format_result(end: LoadedObject) -> str:
    if end.origin == MISSING:
        return "found nowhere" if end.path is None else f"missing: {end.path}"
    return f"the host's {end.path}" if end.origin == HOST else f"the pack's {end.path}"


def _find_new_from_host(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    known: Mapping[str, LoadedObject] = old.host_libraries
    provided = {name for name, paths in old.bundle.paths_by_name.items() if paths}
    for (requester, name), uses in new.uses.items():
        use = uses[0]
        if name in known or name in provided or name not in new.host_libraries:
            continue
        if use.need.requester.origin == HOST or use.need.result.origin != HOST:
            continue
        if is_installed_with_libc(name) or new.context.host.is_expected(name):
            continue
        yield NEW_FROM_HOST.make_finding(
            requester,
            f"needs {name} of the host, which the old pack did not need",
            hint=f"bundle {name}, or say --host-provides {name}",
            needed=name,
            loaded=use.need.result.path,
            programs=[u.entry for u in uses],
            trace=trace_evidence(use.need.result.trace),
        )
