"""The root and the texts of a drawing.

Their attributes keep a drawing readable where a server forbids the style sheet, as Jenkins does by
default. The style sheet wins over them.
"""

from __future__ import annotations

import unicodedata

from bundle_fix.report.html.elements import Element, build_element


def count_columns(text: str) -> int:
    """Return the number of columns of a text; most Chinese and Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "FW" else 1 for c in text)


def build_drawing(box_width: float, box_height: float, **attributes: object) -> Element:
    """Return an empty drawing; its size is in pixels."""
    return build_element(
        "svg", viewBox=f"0 0 {box_width:.0f} {box_height:.0f}", fill="none",
        stroke="currentColor", font_family="monospace", font_size=13, **attributes,
    )  # fmt: skip


def build_label(text: str, x: float, y: float, **attributes: object) -> Element:
    """Return a text of a drawing."""
    return build_element(
        "text", text, x=f"{x:.0f}", y=f"{y:.0f}", fill="currentColor", stroke="none", **attributes
    )
