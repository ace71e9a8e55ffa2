"""The part of the report on sizes: the treemap, the largest files, and the copies."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.model.wording import format_bytes, format_count
from bundle_fix.report.graphs.sizes import Copies, Sizes
from bundle_fix.report.html.drawing.treemap import describe_file, draw_treemap
from bundle_fix.report.html.elements import Element, build_code, build_element

MAX_FILES = 30
"""Rows of the table of files."""
MAX_COPIES = 30
"""Groups of copies in the list."""
MAX_PATHS = 8
"""Paths of one group of copies."""


def build_size_section(sizes: Sizes, anchor: str) -> Element:
    """Return the sizes of an artifact."""
    files = sum(file.count for file in sizes.files)
    return build_element(
        "section",
        build_element("h2", "Sizes"),
        build_element("p", f"{format_count(files, 'file')}, {format_bytes(sizes.total)}"),
        build_element("figure", draw_treemap(sizes), class_="scroll"),
        *_build_copies(sizes.copies),
        _build_size_table(sizes),
        id=anchor,
    )


def _build_copies(copies: tuple[Copies, ...]) -> Iterator[Element]:
    if not copies:
        return
    wasted = sum(group.wasted for group in copies)
    yield build_element("h3", f"Duplicates: {format_bytes(wasted)} are there more than once")
    yield build_element("ul", *map(_build_group, copies[:MAX_COPIES]))
    if len(copies) > MAX_COPIES:
        yield build_element("p", f"… and {len(copies) - MAX_COPIES} more groups", class_="soft")


def _build_group(copies: Copies) -> Element:
    item = build_element("li")
    if copies.soname:
        text = f"{len(copies.paths)} different files have the soname "
        item = build_element("li", text, build_code(copies.soname), ": ")
    else:
        item = build_element("li", f"{len(copies.paths)} copies of {format_bytes(copies.size)}: ")
    for n, path in enumerate(copies.paths[:MAX_PATHS]):
        if n:
            item.append(build_element("br"))
        item.append(build_code(path))
    if len(copies.paths) > MAX_PATHS:
        item.append(build_element("span", f" and {len(copies.paths) - MAX_PATHS} more"))
    return item


def _build_size_table(sizes: Sizes) -> Element:
    rows = [
        build_element(
            "tr",
            build_element("td", build_code(describe_file(file))),
            build_element("td", format_bytes(file.size), class_="number"),
            build_element("td", f"{file.size / sizes.total:.1%}", class_="number"),
        )
        for file in sizes.files[:MAX_FILES]
    ]
    head = build_element(
        "tr",
        build_element("th", "file", scope="col"),
        build_element("th", "size", scope="col", class_="number"),
        build_element("th", "of all", scope="col", class_="number"),
    )
    table = build_element(
        "table", build_element("thead", head), build_element("tbody", *rows)
    )  # fmt: skip
    rest = len(sizes.files) - MAX_FILES
    more = f"… and {rest} more rows, all smaller" if rest > 0 else None
    return build_element(
        "details",
        build_element("summary", f"Table of the largest files: {len(rows)}"),
        table,
        more and build_element("p", more, class_="soft"),
    )
