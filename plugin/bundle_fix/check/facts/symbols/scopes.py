"""The scopes of symbol lookup in which two libraries of one kind meet.

A program and its libraries are one scope. A plugin is looked up in the scope of the program that
opens it and then in its own (dlopen(3), RTLD_LOCAL).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.loader.entry_points import MAX_PROGRAMS
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity

Classify = Callable[[LoadedObject], Collection[str]]
"""Returns the kinds of an object; objects of one kind should not meet."""
MAX_OPENED = 2000
"""Limit of the pairs of a program and a plugin that are simulated."""


class SymbolScope(Struct, frozen=True):
    """The objects of one scope.

    Attributes:
        entry: the path of the program, or of the plugin.
        objects: the objects, in the order of symbol lookup.
        users: those whose references are looked up in it: all, or those that a plugin adds.
        resolutions: the needed names of the users.
        severity: the severity of a failure in it.
        is_opened: whether it is a plugin in a program that may open it.
    """

    entry: str
    objects: tuple[LoadedObject, ...]
    users: tuple[LoadedObject, ...]
    resolutions: tuple[Resolution, ...]
    severity: Severity
    is_opened: bool = False

    def list_needed(self, user: LoadedObject) -> set[str]:
        """Return the labels of the objects to which the needed names of ``user`` resolve."""
        return {r.result.label for r in self.resolutions if r.requester.label == user.label}


def find_shared_scopes(context: Context, classify: Classify) -> Iterator[SymbolScope]:
    """Yield the scopes with several objects of one kind: programs, plugins, plugins in programs."""
    programs, plugins = context.programs.values(), context.plugins.values()
    kinds = {p.entry: _group_by_kind(p.objects, classify) for p in (*programs, *plugins)}
    for process in (*programs, *plugins):
        if any(len(labels) > 1 for labels in kinds[process.entry].values()):
            is_program = process.entry in context.programs
            severity = Severity.ERROR if is_program else context.get_load_severity(process.entry)
            yield SymbolScope(
                process.entry, process.objects, process.objects, process.resolutions, severity
            )
    importers = frozenset(context.dlopen_importers)
    openers = [p for p in programs if _loads_one_of(p, importers)][:MAX_PROGRAMS]
    pairs = (
        (program, plugin)
        for program in openers
        for plugin in plugins
        if _has_other(kinds[program.entry], kinds[plugin.entry])
    )
    for (program, plugin), _ in zip(pairs, range(MAX_OPENED), strict=False):
        added = context.deployment.dlopen_process(program, plugin.entry)
        objects = (*program.objects, *added.objects)
        found = _group_by_kind(objects, classify)
        if any(len(labels) > 1 for labels in found.values()):
            yield SymbolScope(
                plugin.entry, objects, added.objects, added.resolutions, Severity.WARNING,
                is_opened=True,
            )  # fmt: skip


def _group_by_kind(objects: Collection[LoadedObject], classify: Classify) -> Mapping[str, set[str]]:
    """Return the labels of the objects of each kind."""
    found: dict[str, set[str]] = {}
    for loaded in objects:
        for kind in classify(loaded):
            found.setdefault(kind, set()).add(loaded.label)
    return found


def _has_other(one: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> bool:
    """Return whether ``other`` has an object of a kind of which ``one`` has another object."""
    return any(one.get(kind, labels) != labels for kind, labels in other.items())


def _loads_one_of(program: Process, paths: frozenset[str]) -> bool:
    """Return whether a program loads one of these files of the pack."""
    return any(loaded.path in paths for loaded in program.list_bundled_objects())
