"""Severities of findings."""

from __future__ import annotations

from enum import Enum


class Severity(str, Enum):
    """The severity of a finding; the worst comes first."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    # Python 3.10 and later versions differ in how they print a member of two types.
    def __str__(self) -> str:
        return self.value

    @property
    def rank(self) -> int:
        """The position in the order of severities: 0 for an error, the worst."""
        return _RANKS[self]

    def is_at_least(self, other: Severity) -> bool:
        """Return whether this severity is as bad as ``other`` or worse."""
        return self.rank <= other.rank


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
