"""Processes as trees: text for people, JSON for programs, dot and mermaid for drawings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.render.causes_text import Paint
from bundle_fix.report.steps import ORIGIN_COLOURS, format_found_by

MAX_INDENT = 200
MIN_PATH = 20
"""Columns of a path that are printed in any case."""
MERMAID_STYLES = {
    ObjectOrigin.HOST: "fill:#fff3c4,stroke:#b58900",
    ObjectOrigin.MISSING: "fill:#ffd9d9,stroke:#c00",
}
DOT_STYLES = {
    ObjectOrigin.HOST: 'style="filled,dashed" fillcolor="#fff3c4"',
    ObjectOrigin.MISSING: 'style="filled,dotted" fillcolor="#ffd9d9"',
}


def describe_lack_of_processes(bundle: Bundle) -> str:
    """Return why the loader maps no process of a pack."""
    is_static = any(image.is_static_program for image in bundle.images.values())
    if is_static:
        return "it has only static programs, which load no libraries"
    return "it has no programs and no libraries"


class ObjectRecord(msgspec.Struct, frozen=True):
    """One object of a process.

    ``path`` is relative to the pack for origin ``bundle``, absolute for ``host``, null for
    ``missing``; ``via`` is the rule that found it.
    """

    name: str
    path: str | None
    origin: ObjectOrigin
    via: SearchRule
    needed_by: str


class ProcessRecord(msgspec.Struct, frozen=True):
    """One process of ``--format json``: its objects in load order, without itself."""

    entry: str
    objects: tuple[ObjectRecord, ...]


def make_process_records(processes: Sequence[Process]) -> list[ProcessRecord]:
    """Return the records that ``--format json`` prints."""
    return [
        ProcessRecord(
            process.entry,
            tuple(
                ObjectRecord(o.name, o.path, o.origin, o.via, o.needed_by)
                for o in _list_other_objects(process)
            ),
        )
        for process in processes
    ]


def _list_other_objects(process: Process) -> list[LoadedObject]:
    return [o for o in process.objects if o is not process.main]


def render_tree(
    processes: Sequence[Process], paint: Paint, *, fold: bool, width: int | None
) -> str:
    """Return the processes as trees; an object that is loaded already is not expanded again.

    Args:
        processes: the processes.
        paint: the function that colours a text, or returns it unchanged.
        fold: print the needed names that are loaded already in one line.
        width: the number of columns; None for whole paths.
    """
    rendered = (
        "\n".join(_render_process(process, paint, width, fold=fold)) for process in processes
    )
    return "\n".join(f"{text}\n" for text in rendered)


def _render_process(
    process: Process, paint: Paint, width: int | None, *, fold: bool
) -> Iterator[str]:
    needs = _group_by_requester(process)
    yield paint(escape_unprintable(process.entry), "green")
    preloaded = [_Branch(None, o) for o in process.objects if o.via is SearchRule.PRELOAD]
    # The lines still to print, the next one last: no recursion, since the depth has no bound.
    waiting = _list_lines([*preloaded, *needs.get(id(process.main), [])], "", fold=fold)
    while waiting:
        prefix, is_last, branch = waiting.pop()
        start = f"{prefix}{'└── ' if is_last else '├── '}"
        if isinstance(branch, str):
            yield start + _cut_end(branch, width and width - len(start))
            continue
        yield start + _format_branch(branch, paint, width and width - len(start))
        if not branch.is_loaded_already:
            # Beyond this width more indentation only costs memory.
            deeper = "    " if is_last else "│   "
            below = prefix + deeper if len(prefix) < MAX_INDENT else prefix
            waiting += _list_lines(needs.get(id(branch.mapped), []), below, fold=fold)
    for remark in process.remarks:
        yield escape_unprintable(f"note: {remark}")
    yield _format_summary(process, paint)


class _Branch(NamedTuple):
    """A line of a tree: a needed name, or an object that is preloaded, and the object."""

    need: Resolution | None
    mapped: LoadedObject

    @property
    def is_loaded_already(self) -> bool:
        return self.need is not None and self.need.already_loaded

    @property
    def name(self) -> str:
        return escape_unprintable(self.need.name if self.need else self.mapped.name)


def _list_lines(
    branches: Sequence[_Branch], prefix: str, *, fold: bool
) -> list[tuple[str, bool, _Branch | str]]:
    """Return the lines below an object, the last one first, with the prefix of each."""
    lines: list[_Branch | str] = list(branches)
    loaded = [b for b in branches if b.is_loaded_already and b.mapped.via is not SearchRule.LOADED]
    if fold and loaded:
        lines = [branch for branch in branches if branch not in loaded]
        lines.append(f"loaded already: {', '.join(branch.name for branch in loaded)}")
    last = len(lines) - 1
    return [(prefix, number == last, line) for number, line in enumerate(lines)][::-1]


def _group_by_requester(process: Process) -> Mapping[int, list[_Branch]]:
    found: dict[int, list[_Branch]] = {}
    for need in process.resolutions:
        found.setdefault(id(need.requester), []).append(_Branch(need, need.result))
    return found


def _format_branch(branch: _Branch, paint: Paint, room: int | None) -> str:
    """Return a needed name with the object and its search rule, in ``room`` columns if possible."""
    name, mapped = branch.name, branch.mapped
    if mapped.origin is ObjectOrigin.MISSING:
        return f"{name} => {paint('not found', 'red')}"
    host = "host " if mapped.origin is ObjectOrigin.HOST else ""
    rule = f" [{escape_unprintable(format_found_by(mapped))}]"
    if branch.is_loaded_already and mapped.via is not SearchRule.LOADED:
        rule = " (loaded already)"
    path = escape_unprintable(mapped.path or "")
    if room is not None:
        fixed = len(name) + len(" => ") + len(host)
        rule = rule if fixed + len(rule) + MIN_PATH <= room else ""
        path = _cut_start(path, max(room - fixed - len(rule), MIN_PATH))
    colour = ORIGIN_COLOURS.get(mapped.origin)
    where = paint(host + path, colour) if colour else host + path
    return f"{name} => {where}{rule}"


def _cut_start(text: str, width: int) -> str:
    """Return the end of a path, which says the most, in ``width`` columns."""
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _cut_end(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: max(width, 2) - 1]}…"


def _format_summary(process: Process, paint: Paint) -> str:
    others = _list_other_objects(process)
    counts = {origin: sum(o.origin is origin for o in others) for origin in ObjectOrigin}
    parts = [f"{counts[ObjectOrigin.BUNDLE]} from the pack"]
    if counts[ObjectOrigin.HOST]:
        parts.append(paint(f"{counts[ObjectOrigin.HOST]} from the host", "yellow"))
    if counts[ObjectOrigin.MISSING]:
        parts.append(paint(f"{counts[ObjectOrigin.MISSING]} not found", "red"))
    total = f"{len(others)} object{'' if len(others) == 1 else 's'}"
    return f"({total}: {', '.join(parts)})" if others else "(nothing else is loaded)"


def _build_graph(
    processes: Sequence[Process],
) -> tuple[dict[str, ObjectOrigin], dict[tuple[str, str], str]]:
    """Return the nodes (label to origin) and the edges (requester and object to rule)."""
    nodes: dict[str, ObjectOrigin] = {}
    edges: dict[tuple[str, str], str] = {}
    for process in processes:
        nodes.setdefault(process.entry, ObjectOrigin.BUNDLE)
        for o in process.objects:
            nodes.setdefault(o.label, o.origin)
        for o in process.objects:
            if o.via is SearchRule.PRELOAD:
                edges.setdefault((o.needed_by, o.label), format_found_by(o))
        for need in process.resolutions:
            rule = "" if need.already_loaded else format_found_by(need.result)
            key = (need.requester.label, need.result.label)
            edges[key] = edges.get(key) or rule
    return nodes, edges


def render_dot(processes: Sequence[Process]) -> str:
    """Return the processes as one graph for Graphviz."""
    nodes, edges = _build_graph(processes)
    lines = ["digraph process {", "  rankdir=LR;", '  node [shape=box fontname="monospace"];']
    for label, origin in nodes.items():
        style = f" [{DOT_STYLES[origin]}]" if origin in DOT_STYLES else ""
        lines.append(f"  {_quote_for_dot(label)}{style};")
    for (start, end), rule in edges.items():
        label = f" [label={_quote_for_dot(rule)}]" if rule else ""
        lines.append(f"  {_quote_for_dot(start)} -> {_quote_for_dot(end)}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _quote_for_dot(text: str) -> str:
    escaped = escape_unprintable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def render_mermaid(processes: Sequence[Process]) -> str:
    """Return the processes as one flowchart for Mermaid, which GitHub and GitLab draw."""
    nodes, edges = _build_graph(processes)
    numbers = {label: f"n{number}" for number, label in enumerate(nodes)}
    lines = ["flowchart LR"]
    for label, origin in nodes.items():
        mark = f":::{origin.value}" if origin in MERMAID_STYLES else ""
        lines.append(f'  {numbers[label]}["{_escape_for_mermaid(label)}"]{mark}')
    for (start, end), rule in edges.items():
        arrow = f'-->|"{_escape_for_mermaid(rule)}"|' if rule else "-->"
        lines.append(f"  {numbers[start]} {arrow} {numbers[end]}")
    lines += [f"  classDef {origin.value} {style}" for origin, style in MERMAID_STYLES.items()]
    return "\n".join(lines) + "\n"


def _escape_for_mermaid(text: str) -> str:
    """Return ``text`` with the characters that Mermaid or HTML interpret as entities."""
    return "".join(f"#{ord(c)};" if c in '"#<>&`|' else c for c in escape_unprintable(text))
