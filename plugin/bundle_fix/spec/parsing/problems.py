"""What can be wrong with a spec, and the one line each that tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.parsing.positions import KeyPath

MAX_SHOWN_LENGTH = 60
"""Characters of a text from the spec that an error repeats."""

MAX_PROBLEMS = 100
"""Problems that are looked for: who made so many made one of them many times."""

MAX_LISTED_WORDS = 30
"""Words that a message lists."""


class Problem(NamedTuple):
    """One thing that is wrong at ``path``: with its key when ``at_key``, else with its value."""

    path: KeyPath
    message: str
    hint: str = ""
    at_key: bool = False


class SpecErrors(BundleFixError):  # noqa: N818 - it is several
    """Several things that are wrong: its text is one full line for each, in their order."""

    def __init__(self, errors: Sequence[BundleFixError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


def raise_all(errors: Sequence[BundleFixError]) -> None:
    """Raise one error as it is, several together, and nothing where there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecErrors(errors)


def suggest_word(word: str, legal: Iterable[str]) -> str:
    """The hint that names the legal word closest to ``word``, or nothing."""
    close = find_closest(word, legal)
    return f"did you mean `{make_printable(close)}`?" if close is not None else ""


def find_closest(word: str, legal: Iterable[str]) -> str | None:
    """The legal word that ``word`` is most likely meant to be."""
    from difflib import SequenceMatcher, get_close_matches

    by_case = {name.casefold(): name for name in legal}
    word = word.casefold()

    def likeness(match: str) -> tuple[float, int]:
        matcher = SequenceMatcher(None, match, word)
        return matcher.ratio(), matcher.find_longest_match().size

    matches = get_close_matches(word, by_case)
    return by_case[max(matches, key=likeness)] if matches else None


def make_printable(text: str) -> str:
    """A text as a message can hold it: on one line, and not endless."""
    return escape_unprintable(
        text if len(text) <= MAX_SHOWN_LENGTH else text[: MAX_SHOWN_LENGTH - 1] + "…"
    )


def escape_unprintable(text: str) -> str:
    """A text, such as a path, without the characters that would spoil a line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def format_words(words: Iterable[str]) -> str:
    """Words for a message, with commas between them: the first of them, where they are many."""
    shown = [f"`{make_printable(word)}`" for word in islice(words, MAX_LISTED_WORDS + 1)]
    return ", ".join([*shown[:MAX_LISTED_WORDS], "…"] if len(shown) > MAX_LISTED_WORDS else shown)
