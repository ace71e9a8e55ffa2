"""Suggestions for a word that the user may have misspelt."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from bundle_fix.model.printable import escape_and_shorten, escape_unprintable

MAX_LISTED_WORDS = 30
"""Words that a message lists."""
MAX_SIBLINGS = 2000
"""Names of a directory that are compared with a misspelt one."""


def suggest_word(word: str, legal: Iterable[str]) -> str:
    """Return a hint that names the legal word closest to ``word``; empty if none is close."""
    close = find_closest(word, legal)
    return f"did you mean `{escape_and_shorten(close)}`?" if close is not None else ""


def suggest_file(path: Path) -> str:
    """Return a hint that names the file beside ``path`` with the closest name; empty if none is."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, MAX_SIBLINGS)]
    except OSError:
        return ""
    closest = find_closest(path.name, names)
    return f"did you mean `{escape_unprintable(str(path.with_name(closest)))}`?" if closest else ""


def find_closest(word: str, legal: Iterable[str]) -> str | None:
    """Return the legal word that ``word`` is most likely a misspelling of, or None."""
    from difflib import SequenceMatcher, get_close_matches

    by_case = {name.casefold(): name for name in legal}
    word = word.casefold()

    def rank_match(match: str) -> tuple[float, int]:
        # Of two words with the same ratio, the one with the longer common part is meant.
        matcher = SequenceMatcher(None, match, word)
        return matcher.ratio(), matcher.find_longest_match().size

    matches = get_close_matches(word, by_case)
    return by_case[max(matches, key=rank_match)] if matches else None


def format_words(words: Iterable[str]) -> str:
    """Return the first `MAX_LISTED_WORDS` words for a message, separated by commas."""
    shown = [f"`{escape_and_shorten(word)}`" for word in islice(words, MAX_LISTED_WORDS + 1)]
    return ", ".join([*shown[:MAX_LISTED_WORDS], "…"] if len(shown) > MAX_LISTED_WORDS else shown)
