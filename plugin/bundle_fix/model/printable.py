"""Text without characters that would garble a terminal or a message, and paths of the kernel."""

from __future__ import annotations

import os
import re

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


def decode_octal_escapes(path: bytes) -> str:
    """Return a path from a file of /proc, in which some characters are octal escapes.

    They are line breaks, in mountinfo also blanks and backslashes (proc_pid_mountinfo(5)).
    """
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 255]), path))


def escape_and_shorten(text: str, limit: int = MAX_SHOWN_LENGTH) -> str:
    """Return at most ``limit`` characters for ``text``, on one line, for a message."""
    shown = escape_unprintable(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
