"""Links of the pages outside docs/, which `make site` does not check."""

from __future__ import annotations

import re

import pytest

from style.layout import PACKAGE

PROJECT = PACKAGE.parents[1]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name: str) -> None:
    links = LINK.findall((PROJECT / name).read_text())
    assert [link for link in links if not (PROJECT / link).exists()] == []
