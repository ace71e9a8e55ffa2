"""Pages of the manual whose console blocks a test runs.

A block holds commands, each after ``$ ``, with the output that the reader sees; a line that ends
with a backslash continues on the next one. ``…`` in an output stands for any text of a line, and
alone on a line for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from builders.pages import list_snippets

STEP = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
ANY = "…"


class ConsoleStep(NamedTuple):
    """A command of a page, and the output that the page shows."""

    command: str
    output: str


def read_steps(page: str) -> Iterator[ConsoleStep]:
    """Yield the commands of a page in their order."""
    for block in list_snippets(page, "console"):
        yield from (ConsoleStep(*step) for step in STEP.findall(block))


def is_output(expected: str, printed: str) -> bool:
    """Return whether a command has printed what its page shows."""
    pattern = "".join(map(_make_pattern, expected.splitlines()))
    return re.fullmatch(pattern, printed) is not None


def _make_pattern(line: str) -> str:
    if line == ANY:
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.split(ANY))) + r"\n"
