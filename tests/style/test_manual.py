"""The generated pages and man pages are what the commands and schemas themselves say."""

from __future__ import annotations

from manual.__main__ import DATE, DOCS, MAN_PAGES, format_man_pages, format_pages

REPAIR = "a command or schema has changed; run `python -m manual`"


def test_every_reference_page_is_up_to_date() -> None:
    for name, text in format_pages():
        assert text == (DOCS / name).read_text(), REPAIR


def test_every_man_page_is_up_to_date() -> None:
    pages = {path.name: DATE.sub("", path.read_text(), count=1) for path in MAN_PAGES.iterdir()}
    assert dict(format_man_pages("")) == pages, REPAIR
