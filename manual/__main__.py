"""``python -m manual``: write the reference pages in docs/ and the man pages in share/."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from manual.commands import read_commands
from manual.markdown import format_commands_page
from manual.roff import format_man_page, get_page_name
from manual.schemas import format_schemas_page

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
MAN_PAGES = PROJECT / "share" / "man" / "man1"
DATE = re.compile(r'(?<= 1 ")[-0-9]*(?=")')
"""The date in the first line of a man page."""


def format_pages() -> Iterator[tuple[str, str]]:
    """Yield the file name in docs/ and the text of each generated page."""
    yield "commands.md", format_commands_page(read_commands())
    yield "schemas.md", format_schemas_page()


def format_man_pages(date: str) -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of each man page."""
    commands = list(read_commands())
    names = [get_page_name(command.name) for command in commands]
    for command, name in zip(commands, names, strict=True):
        others = names[:1] if command.name else names[1:]
        yield f"{name}.1", format_man_page(command, others, date)


def write_manuals() -> None:
    """Write all pages; a man page whose text has not changed keeps its date."""
    for name, text in format_pages():
        (DOCS / name).write_text(text, encoding="utf-8")
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    MAN_PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in format_man_pages(date):
        path = MAN_PAGES / name
        before = path.read_text(encoding="ascii") if path.exists() else ""
        if DATE.sub("", before, count=1) != DATE.sub("", text, count=1):
            path.write_text(text, encoding="ascii")


if __name__ == "__main__":
    write_manuals()
