"""Elements of HTML and SVG; texts and attribute values pass through `clean_text`.

The document is a tree that `xml.etree` writes, which escapes text and attribute values, so a name
never becomes markup.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bundle_fix.model.printable import escape_unprintable

Element = ET.Element
Child = ET.Element | str | None
"""An element, a text, or None for nothing."""
BLOCKS = frozenset((
    "body", "details", "div", "figure", "footer", "h1", "h2", "h3", "head", "header", "html", "li",
    "main", "meta", "ol", "p", "section", "style", "summary", "svg", "table", "tbody", "td",
    "thead", "title", "tr", "ul",
))  # fmt: skip
"""Elements that end a line of the file, so that two reports can be compared line by line."""
VOID = ("br", "meta")
"""Elements without an end tag."""
GEOMETRY = ("d", "points")
"""Attributes with coordinates only; a cut one is invalid."""
MAX_TEXT = 2000
"""Characters of one text; a name of an ELF file may have megabytes."""


def clean_text(text: str) -> str:
    """Return a text without control and bidirectional characters, and at most `MAX_TEXT` long.

    Such a character becomes visible, as in the text report.
    """
    shown = escape_unprintable(text[: MAX_TEXT + 1])
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 1]}…"


def build_element(tag: str, *children: Child, **attributes: object) -> Element:
    """Return an element.

    Args:
        tag: its name.
        children: its content; None is left out.
        attributes: its attributes. A final ``_`` is removed, other ``_`` become ``-``. None and
            False leave an attribute out, True gives it an empty value.
    """
    element = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            text = "" if value is True else str(value)
            text = text if name in GEOMETRY else clean_text(text)
            element.set(name.rstrip("_").replace("_", "-"), text)
    append_children(element, *children)
    return element


def append_children(element: Element, *children: Child) -> None:
    """Add content to the end of an element."""
    for child in children:
        if isinstance(child, str):
            _append_text(element, clean_text(child))
        elif child is not None:
            element.append(child)
            if child.tag in BLOCKS:
                child.tail = "\n"


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def build_code(text: str) -> Element:
    """Return a name or a command, which the browser does not reorder among other text."""
    return build_element("code", text)


def write_element(element: Element) -> str:
    """Return an element as HTML."""
    # Written as XML, since the HTML of `xml.etree` has "<" in attribute values as it is.
    text = ET.tostring(element, encoding="unicode", short_empty_elements=False)
    for tag in VOID:
        text = text.replace(f"></{tag}>", ">")
    return text


def measure_element(element: Element) -> int:
    """Return the number of bytes of an element in the file."""
    return len(write_element(element).encode())
