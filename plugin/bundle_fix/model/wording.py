"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMES = 4
"""Limit on the names in one list, without ``--verbose``."""
MAX_NAME = 60
"""Limit on the characters of one name in a list, without ``--verbose``."""
SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


def format_count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 file``, ``2 files``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def join_names(names: Sequence[str], limit: int | None = MAX_NAMES) -> str:
    """Return names with commas between them, without a limit or the first ones and a number."""
    if limit is None:
        return ", ".join(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    shown = (name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…" for name in names[:limit])
    return ", ".join(" ".join(name.split()) or "(empty)" for name in shown) + more


def format_bytes(number: int) -> str:
    """Return a number of bytes as text, in powers of 1000: ``1.5 MB``."""
    value, unit = float(number), 0
    while value >= 999.95 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {SIZE_UNITS[unit]}" if unit else f"{number} B"
