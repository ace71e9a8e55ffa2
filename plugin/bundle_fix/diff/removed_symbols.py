"""Symbols that a library had and has no more, and who may still want them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.differences import LOST_SYMBOLS
from bundle_fix.diff.members import ChangedMember, compute_removed_symbols, read_exported_symbols
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.symbols.symbol_table import DefinedSymbol
from bundle_fix.policy.severity import Severity

LINKER_SYMBOLS = frozenset({b"_init", b"_fini", b"_edata", b"_end", b"__bss_start"})
"""Symbols that linkers make and that nobody means to offer."""
MAX_SYMBOLS = 5
"""Symbols that a message names; the evidence has all."""


def find_removed_symbols(
    old: Snapshot, new: Snapshot, changed_members: Sequence[ChangedMember]
) -> Iterator[Finding]:
    """The symbols that libraries lost, which something may still want."""
    for change in changed_members:
        before, after = (
            s.bundle.images.get(p) for s, p in ((old, change.old_path), (new, change.path))
        )
        symbols = change.find_change("symbols")
        if before is None or after is None or symbols is None or not symbols.old:
            continue
        if before.soname != after.soname or before.architecture != after.architecture:
            continue
        removed = [
            symbol
            for symbol in compute_removed_symbols(
                read_exported_symbols(old, change.old_path), read_exported_symbols(new, change.path)
            )
            if symbol.name not in LINKER_SYMBOLS
            and symbol.label != f"{symbol.version}@@{symbol.version}"
        ]
        users = _find_users(new, change.path, removed)
        is_public = before.is_library and before.soname is not None
        relevant = [s for s in removed if s in users or (is_public and not _is_private(s))]
        if relevant:
            yield _make_finding(change.path, before.soname, relevant, users)
        elif removed and is_public:
            hint = "nobody outside is known to count on such symbols"
            yield _make_finding(change.path, before.soname, removed, users, severity=Severity.NOTE, hint=hint)


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
    names = [s.label + (f" (used by {users[s]})" if s in users else "") for s in removed[:MAX_SYMBOLS]]
    more = f" and {len(removed) - MAX_SYMBOLS} more" if len(removed) > MAX_SYMBOLS else ""
    return LOST_SYMBOLS.make_finding(
        path,
        f"has lost {len(removed)} symbol{'s' if len(removed) > 1 else ''}: {', '.join(names)}{more}",
        severity=severity,
        hint=hint,
        soname=soname,
        symbols=[symbol.label for symbol in removed],
        used_by={symbol.label: user for symbol, user in users.items()},
    )


def _is_private(symbol: DefinedSymbol) -> bool:
    """Whether a library's users have a definition of their own, or were told to keep away."""
    return symbol.weak or "PRIVATE" in (symbol.version or "")


def _find_users(new: Snapshot, path: str, removed: Sequence[DefinedSymbol]) -> dict[DefinedSymbol, str]:
    """Objects of the new pack that still want symbols of the library at ``path``, which lost them.

    One that any other object of the process defines, without a version, is found there.
    """
    symbols: dict[tuple[bytes, str | None], DefinedSymbol] = {
        (s.name, None): s for s in removed if not s.hidden
    }
    symbols |= {(s.name, s.version): s for s in removed}
    users: dict[DefinedSymbol, str] = {}
    context = new.context
    for process in (*context.programs.values(), *context.plugins.values()) if removed else ():
        objects = process.list_bundled_objects()
        users = {n.requester.label for n in process.resolutions if n.result.path == path}
        for user in (o for o in objects if o.label in users):
            for symbol in context.symbols.table(user).undefined:
                symbol_ = symbols.get((symbol.name, symbol.version))
                if symbol_ is None or symbol_ in users or symbol.weak:
                    continue
                others = (o for o in objects if o.path != path)
                if symbol.version is not None or not any(
                    symbol.name in context.symbols.table(o).defined for o in others
                ):
                    users[symbol_] = user.label
    return users
