"""Text that a terminal neither obeys nor garbles."""

from __future__ import annotations


def escape_unprintable(text: str) -> str:
    """``text`` with everything that a terminal might obey or garble written as an escape."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
