"""Entries of RPATH and RUNPATH: what each means in a pack, and which may stay."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from enum import Enum

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import Tree, Unresolved, resolve_path


class RunpathKind(Enum):
    """What an entry is, seen from the object that has it."""

    INSIDE = "a folder of the pack"
    ABSENT = "a folder that the pack does not have"
    VARIES = "a folder whose name differs from host to host"
    OUTSIDE = "a folder outside the pack"
    ABSOLUTE = "absolute"
    RELATIVE = "relative to the working directory"


def classify_entry(tree: Tree, entry: str, home: str, image: Image) -> RunpathKind:
    """What ``entry`` is for an object whose ``$ORIGIN`` is ``home``."""
    base, place = expand_entry(entry, home)
    if base is PathBase.HOST and entry.startswith(("$ORIGIN", "${ORIGIN}")):
        return RunpathKind.VARIES
    if base is not PathBase.ORIGIN:
        return RunpathKind.ABSOLUTE if entry.startswith("/") else RunpathKind.RELATIVE
    end = resolve_path(tree, place)
    if end is Unresolved.OUTSIDE or posixpath.normpath(place).startswith(".."):
        return RunpathKind.OUTSIDE
    if isinstance(end, Unresolved) or end not in tree.directories:
        return RunpathKind.ABSENT
    return RunpathKind.INSIDE


def list_entries(image: Image) -> list[str]:
    """The entries that count: those of RUNPATH, or of RPATH where there is no RUNPATH."""
    text = image.runpath if image.runpath is not None else image.rpath
    return text.split(":") if text else []


def find_entries_to_keep(tree: Tree, image: Image, homes: Iterable[str]) -> list[str]:
    """The entries that may stay: those that stay inside the pack from every home, each once."""
    allowed = (RunpathKind.INSIDE, RunpathKind.ABSENT, RunpathKind.VARIES)
    places = tuple(homes)
    return [
        entry
        for entry in dict.fromkeys(list_entries(image))
        if all(classify_entry(tree, entry, home, image) in allowed for home in places)
    ]


def find_reachable_entries(tree: Tree, stay: Sequence[str], homes: Sequence[str]) -> list[str]:
    """Those of ``stay`` that lead to a folder of the pack, or may on some host: each folder once.

    Args:
        tree: the pack.
        stay: the result of `find_entries_to_keep`.
        homes: what ``$ORIGIN`` may mean.
    """
    found: dict[tuple[object, ...], str] = {}
    for entry in stay:
        ends = tuple(_resolve_entry(tree, entry, home) for home in homes)
        if not all(end is Unresolved.MISSING for end in ends):
            found.setdefault(ends, entry)
    return list(found.values())


def _resolve_entry(tree: Tree, entry: str, home: str) -> str | Unresolved:
    base, place = expand_entry(entry, home)
    return entry if base is PathBase.HOST else resolve_path(tree, place)


def is_valid_entry(entry: str) -> bool:
    """Whether the loader reads ``entry``, which begins with ``$ORIGIN``, as what it says.

    ``:`` separates entries, and a ``$`` before a token's name is no part of a folder's name
    (glibc's dl-load.c, _dl_dst_count).
    """
    return ":" not in entry and not TOKEN.search(entry, len("$ORIGIN"))


TOKEN = re.compile(r"\$(\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM))")
