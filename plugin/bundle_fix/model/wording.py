"""Numbers with the words for what they count."""

from __future__ import annotations


def format_count(number: int, one: str, many: str = "") -> str:
    """A number with the word for what it counts."""
    return f"{number} {one if number == 1 else many or one + 's'}"
