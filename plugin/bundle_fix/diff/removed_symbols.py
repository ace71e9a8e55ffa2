"""Symbols that a library had and has no more, and who may still want them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.differences import LOST_SYMBOLS
from bundle_fix.diff.members import ChangedMember, compute_removed_symbols, read_exported_symbols
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.symbols.symbols import DefinedSymbol
from bundle_fix.policy.severity import Severity

BY_LINKERS = frozenset({b"_init", b"_fini", b"_edata", b"_end", b"__bss_start"})
"""Symbols that linkers make and that nobody means to offer."""
SHOWN = 5
"""Symbols that a message names; the evidence has all."""


def find_removed_symbols(
    old: Snapshot, new: Snapshot, altered: Sequence[ChangedMember]
) -> Iterator[Finding]:
    """The symbols that libraries lost, which something may still want."""
    for change in altered:
        before, after = (
            s.bundle.images.get(p) for s, p in ((old, change.old_path), (new, change.path))
        )
        symbols = change.find_change("symbols")
        if before is None or after is None or symbols is None or not symbols.old:
            continue
        if before.soname != after.soname or before.architecture != after.architecture:
            continue
        lost = [
            symbol
            for symbol in compute_removed_symbols(
                read_exported_symbols(old, change.old_path), read_exported_symbols(new, change.path)
            )
            if symbol.name not in BY_LINKERS
            and symbol.label != f"{symbol.version}@@{symbol.version}"
        ]
        users = _users(new, change.path, lost)
        is_promised = before.is_library and before.soname is not None
        counted = [s for s in lost if s in users or (is_promised and not _is_own_affair(s))]
        if counted:
            yield _lost_finding(change.path, before.soname, counted, users)
        elif lost and is_promised:
            hint = "nobody outside is known to count on such symbols"
            yield _lost_finding(change.path, before.soname, lost, users, severity=Severity.NOTE, hint=hint)


def _lost_finding(
    path: str,
    soname: str | None,
    lost: Sequence[DefinedSymbol],
    users: Mapping[DefinedSymbol, str],
    *,
    severity: Severity = Severity.ERROR,
    hint: str | None = None,
) -> Finding:
    lost = sorted(lost, key=lambda symbol: (symbol not in users, symbol.label))
    told = [s.label + (f" (used by {users[s]})" if s in users else "") for s in lost[:SHOWN]]
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    return LOST_SYMBOLS.make_finding(
        path,
        f"has lost {len(lost)} symbol{'s' if len(lost) > 1 else ''}: {', '.join(told)}{more}",
        severity=severity,
        hint=hint,
        soname=soname,
        symbols=[symbol.label for symbol in lost],
        used_by={symbol.label: user for symbol, user in users.items()},
    )


def _is_own_affair(symbol: DefinedSymbol) -> bool:
    """Whether a library's users have a definition of their own, or were told to keep away."""
    return symbol.weak or "PRIVATE" in (symbol.version or "")


def _users(new: Snapshot, path: str, lost: Sequence[DefinedSymbol]) -> dict[DefinedSymbol, str]:
    """Objects of the new pack that still want symbols of the library at ``path``, which lost them.

    One that any other object of the process defines, without a version, is found there.
    """
    wanted: dict[tuple[bytes, str | None], DefinedSymbol] = {
        (s.name, None): s for s in lost if not s.hidden
    }
    wanted |= {(s.name, s.version): s for s in lost}
    found: dict[DefinedSymbol, str] = {}
    context = new.context
    for process in (*context.programs.values(), *context.plugins.values()) if lost else ():
        objects = process.bundled()
        users = {n.requester.label for n in process.needs if n.result.path == path}
        for user in (o for o in objects if o.label in users):
            for symbol in context.symbols.table(user).undefined:
                gone = wanted.get((symbol.name, symbol.version))
                if gone is None or gone in found or symbol.weak:
                    continue
                others = (o for o in objects if o.path != path)
                if symbol.version is not None or not any(
                    symbol.name in context.symbols.table(o).defined for o in others
                ):
                    found[gone] = user.label
    return found
