"""Names and lists of names in the messages of findings."""

from __future__ import annotations

from collections.abc import Sequence

MAX_SHOWN_NAMES = 5
"""Names that a message lists; the evidence of a finding lists all."""


def join_names(names: Sequence[str], limit: int = MAX_SHOWN_NAMES) -> str:
    """Join the first ``limit`` names with commas, followed by the number of the others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def decode_name(name: bytes) -> str:
    """Decode the name of a symbol; bytes that are not UTF-8 become backslash escapes."""
    return name.decode("utf-8", "backslashreplace")
