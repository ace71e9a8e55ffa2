"""Code blocks of the pages in docs/, which tests run as they are."""

from __future__ import annotations

import re


def find_snippet(page: str, language: str, word: str) -> str:
    """Return the code block of a page that is in ``language`` and contains ``word``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)
