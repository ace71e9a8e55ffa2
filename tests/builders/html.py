"""HTML documents read by a parser, for tests of reports."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"meta", "br"})
"""Elements of reports without an end tag."""


class Document(HTMLParser):
    """The elements of a document, in order; an end tag without its start tag is an error.

    Attributes:
        elements: the name and the attributes of each element.
        texts: the text between the tags, by the name of the element that contains it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def list_structure(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the names of all elements and of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]

    def list_values(self, name: str) -> list[str]:
        """Return the values of all attributes of one name."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def collect_text(self, tag: str) -> str:
        """Return the text of all elements of one name."""
        return " ".join(text for element, text in self.texts if element == tag)


def read_document(text: str) -> Document:
    """Return a document after a check of what every report must keep.

    All ids are unique, every link leads to one of them, and nothing is a script or comes from
    elsewhere.
    """
    document = Document(text)
    ids = document.list_values("id")
    assert len(ids) == len(set(ids)), sorted({i for i in ids if ids.count(i) > 1})
    assert {link for link in document.list_values("href") if link.removeprefix("#") not in ids} == (
        set()
    )
    tags = {tag for tag, _ in document.elements}
    assert tags & {"script", "iframe", "object", "embed", "form", "img", "link", "base"} == set()
    names = {name for _, attributes in document.elements for name in attributes}
    assert {name for name in names if name.startswith("on") or name in ("src", "style")} == set()
    return document
