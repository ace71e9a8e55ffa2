"""How findings spell names, and list many in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 5
"""Names that a message has; the evidence has all."""


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first of ``names``, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def text(name: bytes) -> str:
    """A symbol's name as text; bytes that are no UTF-8 are spelled out."""
    return name.decode("utf-8", "backslashreplace")
