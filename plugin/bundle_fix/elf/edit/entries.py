"""The dynamic entries that result from changes, before their strings have offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image


class NewEntry(NamedTuple):
    """A dynamic entry whose string has no offset in the string table yet.

    ``replaces`` is the needed name that it replaces, or empty.
    """

    tag: int
    text: str
    replaces: str = ""


class NewName(NamedTuple):
    """A new name of the dynamic symbols that are called ``old``."""

    old: str
    text: str


class NewInterpreter(NamedTuple):
    """A path for PT_INTERP that is too long for the place of the old one."""

    text: str


PlannedEntry = DynamicEntry | NewEntry
PlannedItem = PlannedEntry | NewName | NewInterpreter
"""One part of a plan: a dynamic entry, in their order, or another new string."""


def plan_entries(image: Image, changes: Changes) -> tuple[PlannedEntry, ...]:
    """Return the dynamic entries after ``changes``, in the file's order; new ones come last.

    Args:
        image: a file with a dynamic section.
        changes: what to change.
    """
    entries: Sequence[PlannedEntry] = image.dynamic or ()
    if changes.runpath is not None or changes.rpath is not None:
        tag = c.DT_RPATH if changes.rpath else c.DT_RUNPATH
        entries = _set_search_path(entries, image, tag, changes.rpath or changes.runpath or "")
    if changes.soname is not None and changes.soname != image.soname:
        entries = _set_string(entries, c.DT_SONAME, (c.DT_SONAME,), changes.soname)
    if compute_needed(image.needed, changes) != image.needed:
        entries = _set_needed(entries, image, changes)
    if changes.no_default_lib:
        entries = _set_flags(entries, image, c.DF_1_NODEFLIB)
    if changes.debug_tag and image.find_value(c.DT_DEBUG) is None:
        entries = [*entries, DynamicEntry(c.DT_DEBUG, 0)]
    return tuple(entries)


def _set_flags(entries: Sequence[PlannedEntry], image: Image, flags: int) -> list[PlannedEntry]:
    """Return ``entries`` with bits set in the last DT_FLAGS_1, which is the one that counts."""
    before = image.find_value(c.DT_FLAGS_1)
    after = DynamicEntry(c.DT_FLAGS_1, (before or 0) | flags)
    if before is None:
        return [*entries, after]
    last = max(n for n, entry in enumerate(entries) if entry.tag == c.DT_FLAGS_1)
    return [*entries[:last], after, *entries[last + 1 :]]


def _set_search_path(
    entries: Sequence[PlannedEntry], image: Image, tag: int, text: str
) -> list[PlannedEntry]:
    present = {c.DT_RPATH: image.rpath, c.DT_RUNPATH: image.runpath}
    other = c.DT_RPATH if tag == c.DT_RUNPATH else c.DT_RUNPATH
    if present[tag] == text and present[other] is None:
        return list(entries)
    return _set_string(entries, tag, (tag, other), text)


def _set_string(
    entries: Sequence[PlannedEntry], tag: int, replaced: tuple[int, ...], text: str
) -> list[PlannedEntry]:
    """Return ``entries`` with ``text`` in place of all entries whose tags are in ``replaced``."""
    result: list[PlannedEntry] = []
    pending = [NewEntry(tag, text)] if text else []
    for entry in entries:
        if entry.tag not in replaced:
            result.append(entry)
        elif pending:
            result.append(pending.pop())
    return result + pending


def _set_needed(
    entries: Sequence[PlannedEntry], image: Image, changes: Changes
) -> list[PlannedEntry]:
    names = iter(image.needed)
    replacements, insertions = dict(changes.replace_needed), dict(changes.insert_needed)
    result: list[PlannedEntry] = []
    before = ""
    for entry in entries:
        name = next(names) if entry.tag == c.DT_NEEDED else ""
        if insertions.get(name, before) != before:
            result.append(NewEntry(c.DT_NEEDED, insertions[name]))
        before = name or before
        new = replacements.get(name, name)
        if not name or name not in changes.remove_needed:
            result.append(entry if new == name else NewEntry(c.DT_NEEDED, new, name))
    # The order of DT_NEEDED decides which definition of a symbol is found first (the gABI).
    first = next((n for n, entry in enumerate(result) if entry.tag == c.DT_NEEDED), 0)
    added = _list_added(image.needed, changes)
    return [*result[:first], *(NewEntry(c.DT_NEEDED, name) for name in added), *result[first:]]


def _list_added(needed: Sequence[str], changes: Changes) -> list[str]:
    """Return the names of ``add_needed`` that are not needed yet, each once."""
    present = {*needed, *(new for old, new in changes.replace_needed if old in needed)}
    return [name for name in dict.fromkeys(changes.add_needed) if name not in present]


def compute_needed(needed: Sequence[str], changes: Changes) -> tuple[str, ...]:
    """Return the needed names after ``changes``."""
    replacements, insertions = dict(changes.replace_needed), dict(changes.insert_needed)
    result = _list_added(needed, changes)
    for before, name in zip(("", *needed), needed, strict=False):
        result += [insertions[name]] if insertions.get(name, before) != before else []
        if name not in changes.remove_needed:
            result.append(replacements.get(name, name))
    return tuple(result)
