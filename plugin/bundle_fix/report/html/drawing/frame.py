"""The root and the texts of a drawing.

Their attributes keep a drawing readable where a server forbids the style sheet, as Jenkins does by
default. The style sheet wins over them.
"""

from __future__ import annotations

from bundle_fix.report.html.elements import Element, build_element


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
