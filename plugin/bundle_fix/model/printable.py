"""Text without characters that would garble a terminal or a message."""

from __future__ import annotations

MAX_SHOWN_LENGTH = 60
"""Characters of a user's text that a message repeats."""


def escape_unprintable(text: str) -> str:
    """Return ``text`` with every unprintable character as a Python escape sequence.

    Surrogates, which stand for bytes of a path that are not UTF-8, are escaped as well.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def escape_and_shorten(text: str, limit: int = MAX_SHOWN_LENGTH) -> str:
    """Return at most ``limit`` characters for ``text``, on one line, for a message."""
    shown = escape_unprintable(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
