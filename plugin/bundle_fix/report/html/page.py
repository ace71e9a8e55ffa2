"""The frame of an HTML report: the head with its security policy, the parts, and the size limit.

The document has no scripts and loads nothing. Its own Content-Security-Policy says so, and a
server may send the same one.
"""

from __future__ import annotations

from collections.abc import Iterable

from bundle_fix import __version__
from bundle_fix.report.html.elements import (
    Element,
    append_children,
    build_element,
    measure_element,
    write_element,
)
from bundle_fix.report.html.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MAX_SIZE = 1_000_000
"""Bytes of a document. CI services refuse or cut larger files, and browsers become slow."""


def write_page(title: str, header: Iterable[Element], parts: Iterable[Element | None]) -> str:
    """Return a document.

    Args:
        title: the title.
        header: the elements that come first.
        parts: the elements after them; None is left out.
    """
    head = build_element(
        "head",
        build_element("meta", charset="utf-8"),
        build_element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        build_element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        build_element("meta", name="referrer", content="no-referrer"),
        build_element("title", title),
    )
    style = build_element("style")
    # A constant without characters that XML escapes and HTML does not (style.py).
    style.text = STYLE
    append_children(head, style)
    footer = build_element("footer", build_element("p", f"bundle-fix {__version__}"))
    body = build_element(
        "body",
        build_element("header", *header),
        build_element("main", *parts),
        footer,
    )
    html = build_element("html", head, body, lang="en")
    return "<!DOCTYPE html>\n" + write_element(html) + "\n"


def build_omission(subject: str) -> Element:
    """Return the line that says what does not fit into the report."""
    return build_element(
        "p", f"{subject}: left out, as the report is limited in size.", class_="soft"
    )


class SizeBudget:
    """The bytes that are left for the parts of a document.

    Args:
        size: the bytes; the default leaves room for the head and for headings.
    """

    def __init__(self, size: int = MAX_SIZE - len(STYLE) - 32768) -> None:
        self.left = size

    def take_element(self, element: Element, reserve: int = 0) -> bool:
        """Return whether an element fits and leaves ``reserve`` bytes; if so, take its bytes."""
        size = measure_element(element)
        if size > self.left - reserve:
            return False
        self.left -= size
        return True

    def fit_element(self, element: Element, subject: str) -> Element:
        """Take the bytes of an element and return it, or the line on what does not fit."""
        return element if self.take_element(element) else build_omission(subject)
