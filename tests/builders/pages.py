"""Code blocks of the pages in docs/, which tests run as they are."""

from __future__ import annotations

import re


def list_snippets(page: str, language: str) -> list[str]:
    """Return the code blocks of a page that are in ``language``."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def find_snippet(page: str, language: str, word: str) -> str:
    """Return the code block of a page that is in ``language`` and contains ``word``."""
    (found,) = [block for block in list_snippets(page, language) if word in block]
    return found
