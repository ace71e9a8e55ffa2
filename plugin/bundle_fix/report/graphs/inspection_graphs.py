"""Graphs of the objects of a running process or a core file."""

from __future__ import annotations

import posixpath

from bundle_fix.observe.comparison.verdict import ObservedOrigin
from bundle_fix.report.graphs.load_graph import (
    GraphBuilder,
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.report.inspection import InspectedObjectRecord, InspectReport
from bundle_fix.report.render.inspection import (
    ORIGIN_TEXTS,
    REPLACEMENT_TEXTS,
    describe_subject,
)


def make_inspection_graph(report: InspectReport) -> LoadGraph | None:
    """Return the graph of a process without the kernel's own object; None if it has no other.

    An edge begins at the object that needs a library, as the model predicts it; for a library that
    was opened at run time it begins at the program.
    """
    objects = [o for o in report.objects if o.origin is not ObservedOrigin.KERNEL]
    if not objects:
        return None
    main, *others = objects
    builder = GraphBuilder(describe_subject(report), GraphKind.PROCESS, _make_object(main))
    indexes = {_get_label(main): 0}
    for number, loaded in enumerate(others, 1):
        builder.add_object(number, _make_object(loaded))
        indexes.setdefault(_get_label(loaded), number)
    for number, loaded in enumerate(others, 1):
        rule, name = loaded.rule, posixpath.basename(loaded.name) or _get_label(loaded)
        if rule is not None:
            start = indexes.get(loaded.needed_by, 0)
            builder.add_edge(GraphEdge(start, number, name, rule.text, rule.steps))
    return builder.build(report.remarks)


def _get_label(loaded: InspectedObjectRecord) -> str:
    return loaded.member or loaded.path or loaded.name


def _make_object(loaded: InspectedObjectRecord) -> GraphObject:
    notes = [] if loaded.origin in (ObservedOrigin.PACK, ObservedOrigin.HOST) else [
        ORIGIN_TEXTS[loaded.origin]
    ]  # fmt: skip
    if loaded.displaces:
        notes.append(f"instead of the pack's {loaded.displaces}")
    if loaded.replaced:
        notes.append(REPLACEMENT_TEXTS[loaded.replaced])
    is_opened = loaded.rule is not None and loaded.rule.code is None
    return GraphObject(
        _get_label(loaded),
        Side.PACK if loaded.origin is ObservedOrigin.PACK else Side.HOST,
        is_opened and not loaded.predicted,
        bool(loaded.displaces or loaded.replaced),
        ", ".join(notes),
    )
