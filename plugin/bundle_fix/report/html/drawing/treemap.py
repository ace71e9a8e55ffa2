"""The sizes of files as a treemap; files that are there more than once are marked."""

from __future__ import annotations

import posixpath

from bundle_fix.model.wording import format_bytes, format_count
from bundle_fix.report.graphs.sizes import FileSize, Sizes
from bundle_fix.report.html.drawing.frame import build_drawing, build_label
from bundle_fix.report.html.drawing.squarify import Tile, fill_with_tiles
from bundle_fix.report.html.elements import Element, append_children, build_element, clean_text

AREA = Tile(0, 0, 1000, 420)
CHARACTER = 7.9
LINE = 16
SMALLEST_LABEL = 40
"""Width of the narrowest tile with a text, in pixels."""


def draw_treemap(sizes: Sizes) -> Element:
    """Return the treemap of the files of an artifact."""
    marks = _mark_copies(sizes)
    svg = build_drawing(
        AREA.width, AREA.height, role="img", class_="map",
        aria_label=f"treemap of {format_bytes(sizes.total)}; the table below has the same content",
    )  # fmt: skip
    tiles = fill_with_tiles([file.size for file in sizes.files], AREA)
    for file, tile in zip(sizes.files, tiles, strict=True):
        append_children(svg, _draw_tile(file, marks.get(file.path, ""), tile))
    return svg


def _mark_copies(sizes: Sizes) -> dict[str, str]:
    """Return a mark for each file that is there more than once, by its path."""
    marks: dict[str, str] = {}
    for copies in sizes.copies:
        text = "same soname" if copies.soname else f"{len(copies.paths)} copies"
        for path in copies.paths:
            marks.setdefault(path, text)
    return marks


def describe_file(file: FileSize) -> str:
    """Return the path of a file, or the number of the files of a directory."""
    if file.count == 1:
        return file.path
    place = f"in {file.path}/" if file.path else "at the top"
    return f"{format_count(file.count, 'smaller file')} {place}"


def _draw_tile(file: FileSize, mark: str, tile: Tile) -> Element:
    name = posixpath.basename(file.path) if file.count == 1 else describe_file(file)
    title = f"{describe_file(file)}: {format_bytes(file.size)}" + (f" ({mark})" if mark else "")
    group = build_element(
        "g",
        build_element("title", title),
        build_element(
            "rect", x=f"{tile.x:.1f}", y=f"{tile.y:.1f}", width=f"{tile.width:.1f}",
            height=f"{tile.height:.1f}",
            class_="tile copy" if mark else "tile",
        ),
    )  # fmt: skip
    lines = [name, mark and f"({mark})", format_bytes(file.size)]
    if tile.width >= SMALLEST_LABEL:
        room = int((tile.width - 8) / CHARACTER)
        fitting = [line for line in lines if line][: int((tile.height - 4) / LINE)]
        for n, line in enumerate(fitting, 1):
            text = clean_text(line)
            shown = text if len(text) <= room else f"{text[: room - 1]}…"
            append_children(group, build_label(shown, tile.x + 4, tile.y + n * LINE))
    return group
