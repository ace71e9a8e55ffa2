"""Find symbols that a library no longer exports and that something may still use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.differences import REMOVED_SYMBOLS
from bundle_fix.diff.attributes import ChangedMember
from bundle_fix.diff.exported_symbols import compute_removed_symbols, read_exported_symbols
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.symbols.definitions import DefinedSymbol
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity

LINKER_SYMBOLS = frozenset({b"_init", b"_fini", b"_edata", b"_end", b"__bss_start"})
"""Symbols that linkers define on their own; they are not part of a library's interface."""
MAX_SYMBOLS = 5
"""Limit on the symbols in a message; the evidence has all."""


def find_removed_symbols(
    old: Snapshot, new: Snapshot, changed_members: Sequence[ChangedMember]
) -> Iterator[Finding]:
    """Yield a finding for each library that no longer exports some of its symbols."""
    for change in changed_members:
        before, after = (
            s.bundle.images.get(p) for s, p in ((old, change.old_path), (new, change.path))
        )
        symbols = change.find_change("symbols")
        if before is None or after is None or symbols is None or not symbols.old:
            continue
        if before.soname != after.soname or before.architecture != after.architecture:
            continue
        exported_before = read_exported_symbols(old, change.old_path)
        exported_after = read_exported_symbols(new, change.path)
        removed = [
            symbol
            for symbol in compute_removed_symbols(exported_before, exported_after)
            if symbol.name not in LINKER_SYMBOLS and not _is_version_symbol(symbol)
        ]
        users = _find_users(new, change.path, removed)
        is_public = before.is_library and before.soname is not None
        relevant = [s for s in removed if s in users or (is_public and not _is_private(s))]
        if relevant:
            yield _make_finding(change.path, before.soname, relevant, users)
        elif removed and is_public:
            hint = "users outside the pack do not normally depend on such symbols"
            yield _make_finding(
                change.path, before.soname, removed, users, severity=Severity.NOTE, hint=hint
            )


def _make_finding(
    path: str,
    soname: str | None,
    removed: Sequence[DefinedSymbol],
    users: Mapping[DefinedSymbol, str],
    *,
    severity: Severity = Severity.ERROR,
    hint: str | None = None,
) -> Finding:
    removed = sorted(removed, key=lambda symbol: (symbol not in users, symbol.label))
    names = [
        f"{s.label} (used by {users[s]})" if s in users else s.label for s in removed[:MAX_SYMBOLS]
    ]
    more = f" and {len(removed) - MAX_SYMBOLS} more" if len(removed) > MAX_SYMBOLS else ""
    return REMOVED_SYMBOLS.make_finding(
        path,
        f"no longer exports {format_count(len(removed), 'symbol')}: {', '.join(names)}{more}",
        severity=severity,
        hint=hint,
        soname=soname,
        symbols=[symbol.label for symbol in removed],
        used_by={symbol.label: user for symbol, user in users.items()},
    )


def _is_version_symbol(symbol: DefinedSymbol) -> bool:
    """Return whether this is the symbol that linkers define for a version itself."""
    return symbol.label == f"{symbol.version}@@{symbol.version}"


def _is_private(symbol: DefinedSymbol) -> bool:
    """Return whether users outside the pack should not depend on a symbol.

    A weak symbol, such as a C++ inline function, is defined in the users as well. Versions with
    PRIVATE in their name are only for libraries of the same package, as in glibc.
    """
    return symbol.weak or "PRIVATE" in (symbol.version or "")


def _find_users(
    new: Snapshot, path: str, removed: Sequence[DefinedSymbol]
) -> dict[DefinedSymbol, str]:
    """Return the removed symbols of the library at ``path`` that are still used, with one user.

    A symbol without a version does not count if another object of the process defines it.
    """
    if not removed:
        return {}
    # A version-less reference also binds to a symbol with a default version.
    by_name: dict[tuple[bytes, str | None], DefinedSymbol] = {
        (s.name, None): s for s in removed if not s.hidden
    }
    by_name |= {(s.name, s.version): s for s in removed}
    users: dict[DefinedSymbol, str] = {}
    context = new.context
    for process in (*context.programs.values(), *context.plugins.values()):
        objects = process.list_bundled_objects()
        requesters = {r.requester.label for r in process.resolutions if r.result.path == path}
        for user in (o for o in objects if o.label in requesters):
            for reference in context.facts.read_undefined_symbols(user):
                symbol = by_name.get((reference.name, reference.version))
                if symbol is None or symbol in users or reference.weak:
                    continue
                others = (o for o in objects if o.path != path)
                if reference.version is not None or not any(
                    reference.name in context.facts.read_exports(o).names for o in others
                ):
                    users[symbol] = user.label
    return users | _find_plugins(new, path, removed)


def _find_plugins(
    new: Snapshot, path: str, removed: Sequence[DefinedSymbol]
) -> dict[DefinedSymbol, str]:
    """Return the removed symbols of the program at ``path`` that plugins use, with one plugin.

    A symbol that another file of the pack defines does not count.
    """
    context = new.context
    if path not in context.programs:
        return {}
    by_name = {symbol.name: symbol for symbol in removed}
    users: dict[DefinedSymbol, str] = {}
    for plugin in context.plugins:
        for reference in context.openers.list_open_symbols(plugin):
            if reference.name in by_name:
                users.setdefault(by_name[reference.name], plugin)
    for library in context.bundle.list_libraries() if users else ():
        defined = context.facts.read_exports(library).names
        users = {symbol: user for symbol, user in users.items() if symbol.name not in defined}
    return users
