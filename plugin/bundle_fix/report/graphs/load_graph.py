"""Graphs of the objects that a process loads, for drawings and tables."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

OPENED = "opened at run time"
"""The rule of an edge that dlopen(3) makes."""


class Side(Enum):
    """The side that an object of a graph comes from."""

    PACK = "pack"
    HOST = "host"
    MISSING = "missing"


class GraphKind(Enum):
    """The entry point of a graph."""

    PROGRAM = "program"
    PLUGIN = "plugin"
    PROCESS = "process"
    COMPARISON = "comparison"


class GraphObject(Struct, frozen=True):
    """One object of a graph.

    Attributes:
        label: its path: relative to the pack, or absolute; its name if it is missing.
        side: the side that it comes from.
        at_run_time: whether it is opened at run time and not needed at the start.
        is_notable: whether a reader should see it: missing, or another copy than the pack's.
        note: a remark, such as ``displaces lib/libx.so.1``; mostly empty.
    """

    label: str
    side: Side
    at_run_time: bool = False
    is_notable: bool = False
    note: str = ""


class GraphEdge(Struct, frozen=True):
    """One name that an object needs or opens, and the object that it leads to.

    Attributes:
        start: the index of the object that needs the name.
        end: the index of the object that the name leads to.
        name: the name.
        rule: the rule that found it; empty if it was loaded before.
        steps: the steps of the search; empty if the name was known.
    """

    start: int
    end: int
    name: str
    rule: str = ""
    steps: tuple[str, ...] = ()


class LoadGraph(Struct, frozen=True):
    """The objects of one process or library, and the names that lead to them.

    Attributes:
        entry: the program or library; the text that identifies the graph.
        kind: what the entry point is.
        objects: the objects in load order, the entry point first.
        edges: the needed names, in the order in which they were resolved.
        remarks: sentences about the process.
    """

    entry: str
    kind: GraphKind
    objects: tuple[GraphObject, ...]
    edges: tuple[GraphEdge, ...]
    remarks: tuple[str, ...] = ()

    @property
    def has_notable_objects(self) -> bool:
        """Whether an object is missing or another copy than the pack's."""
        return any(o.is_notable for o in self.objects)


class GraphBuilder:
    """A graph to which objects and edges are added; an object is added once for each key.

    The key of the first object is its label.
    """

    def __init__(self, entry: str, kind: GraphKind, first: GraphObject) -> None:
        self.entry = entry
        self.kind = kind
        self.objects = [first]
        self.indexes: dict[object, int] = {first.label: 0}
        self.edges: list[GraphEdge] = []

    def add_object(self, key: object, added: GraphObject) -> int:
        """Add an object unless one with ``key`` is there; return its index."""
        index = self.indexes.setdefault(key, len(self.objects))
        if index == len(self.objects):
            self.objects.append(added)
        return index

    def add_edge(self, edge: GraphEdge) -> None:
        """Add an edge."""
        self.edges.append(edge)

    def build(self, remarks: tuple[str, ...] = ()) -> LoadGraph:
        """Return the graph."""
        return LoadGraph(self.entry, self.kind, tuple(self.objects), tuple(self.edges), remarks)
