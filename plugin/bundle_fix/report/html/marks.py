"""The marks of objects in drawings and tables: a style with a shape and a colour, and a word."""

from __future__ import annotations

from msgspec import Struct

from bundle_fix.report.graphs.load_graph import GraphObject, Side
from bundle_fix.report.html.elements import Element, build_element


class Mark(Struct, frozen=True):
    """A mark: the class in the style sheet, the word beside a name, and what it means."""

    style: str
    word: str
    meaning: str


PACK = Mark("pack", "pack", "a file of the pack; in graphs a rectangle with a solid line")
EXPECTED = Mark(
    "expected",
    "host",
    "an expected file of the host; in graphs a round box with a grey dashed line",
)
OTHER = Mark(
    "host",
    "host (unexpected)",
    "another file of the host; in graphs a round box with a coloured dashed line",
)
MISSING = Mark(
    "missing", "✕ MISSING", "not found; in graphs a box with cut corners and a dotted line"
)
OPENED = Mark("open", "opened at run time", "opened by dlopen; in graphs a pointed box")
MARKS = (PACK, EXPECTED, OTHER, MISSING, OPENED)


def get_mark(drawn: GraphObject) -> Mark:
    """Return the mark of the side that an object comes from."""
    if drawn.side is Side.HOST:
        return OTHER if drawn.is_notable else EXPECTED
    return PACK if drawn.side is Side.PACK else MISSING


def get_shape(drawn: GraphObject) -> Mark:
    """Return the mark that gives an object its shape."""
    mark = get_mark(drawn)
    return OPENED if drawn.at_run_time and mark is PACK else mark


def build_tag(mark: Mark, text: str = "") -> Element:
    """Return a mark as a tag; ``text`` stands before its word."""
    return build_element("span", f"{text} {mark.word}".strip(), class_=f"tag {mark.style}")


def build_legend() -> Element:
    """Return the explanation of all marks."""
    items = (build_element("li", build_tag(mark), f" {mark.meaning}") for mark in MARKS)
    return build_element("ul", *items)
