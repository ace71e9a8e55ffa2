"""The man pages and docs/commands.md are what the commands themselves say."""

from __future__ import annotations

from manual.__main__ import DATE, MAN_PAGES, PAGE, format_man_pages
from manual.commands import read_commands
from manual.markdown import format_commands_page

REPAIR = "a command has changed; run `python -m manual`"


def test_the_reference_page_of_commands_is_up_to_date() -> None:
    assert format_commands_page(read_commands()) == PAGE.read_text(), REPAIR


def test_every_man_page_is_up_to_date() -> None:
    pages = {path.name: DATE.sub("", path.read_text(), count=1) for path in MAN_PAGES.iterdir()}
    assert dict(format_man_pages("")) == pages, REPAIR
