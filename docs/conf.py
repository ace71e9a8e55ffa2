"""Sphinx: `make site` builds these pages, which are written for GitHub, as a site."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from bundle_fix import __version__

project = "bundle-fix"
release = __version__
root_doc = "index"
extensions = ["myst_parser"]
# Links lead to headings as on GitHub; a broken one is a warning, and `make site` fails on warnings.
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"bundle-fix {release}"
html_show_copyright = False
html_copy_source = False
# Quotes and hyphens of options stay as they are typed.
smartquotes = False
# Languages without a lexer of Pygments are rare; a console with `…` is one that it cannot read.
suppress_warnings = ["misc.highlighting_failure"]

DOCS = Path(__file__).parent
OUTSIDE = re.compile(r"\[([^\]]*)\]\((\.\./[^)#]*)[^)]*\)")
"""A link to a file of the source tree that is not a page of the site."""
SECTION = re.compile(r"^## (.*)\n((?:.*\n)*?)(?=^## |\Z)", re.MULTILINE)
PAGE = re.compile(r"^- \[([^\]]*)\]\(([\w-]+)\.md\)", re.MULTILINE)


def prepare_page(_app: Sphinx, name: str, source: list[str]) -> None:
    """Replace what works on GitHub only."""
    source[0] = OUTSIDE.sub(_unlink, source[0])
    if name == root_doc:
        source[0] += "".join(map(_make_menu, SECTION.findall(source[0])))


def _unlink(match: re.Match[str]) -> str:
    """Return the text of a link to an existing file of the source tree."""
    text, path = match.groups()
    if not (DOCS / path).exists():
        raise FileNotFoundError(f"broken link to {path}")
    return text


def _make_menu(section: tuple[str, str]) -> str:
    """Return the menu of one part of the index: its title, and its pages with their titles."""
    title, text = section
    pages = "\n".join(f"{title} <{page}>" for title, page in PAGE.findall(text))
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Register `prepare_page`."""
    app.connect("source-read", prepare_page)
