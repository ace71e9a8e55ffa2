"""The entries of RPATH and RUNPATH: their kinds in a pack, and the ones to keep."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from enum import Enum

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.symlinks import Unresolved
from bundle_fix.model.tree import Tree, resolve_path


class RunpathKind(Enum):
    """The kind of directory that an entry names, seen from the object that has the entry."""

    INSIDE = "inside"
    """A directory of the pack."""
    ABSENT = "absent"
    """A directory that the pack does not have."""
    VARIES = "varies"
    """A directory whose name differs from host to host, because of ``$LIB`` or ``$PLATFORM``."""
    OUTSIDE = "outside"
    """A directory outside the pack."""
    ABSOLUTE = "absolute"
    """An absolute path."""
    RELATIVE = "relative"
    """A path relative to the working directory."""


def classify_runpath_entry(tree: Tree, entry: str, home: str, image: Image) -> RunpathKind:
    """Return the kind of ``entry`` for an object whose ``$ORIGIN`` is ``home``."""
    base, path = expand_entry(entry, home)
    if base is PathBase.HOST and entry.startswith(("$ORIGIN", "${ORIGIN}")):
        return RunpathKind.VARIES
    if base is not PathBase.ORIGIN:
        return RunpathKind.ABSOLUTE if entry.startswith("/") else RunpathKind.RELATIVE
    end = resolve_path(tree, path)
    if end is Unresolved.OUTSIDE or posixpath.normpath(path).startswith(".."):
        return RunpathKind.OUTSIDE
    if isinstance(end, Unresolved) or end not in tree.directories:
        return RunpathKind.ABSENT
    return RunpathKind.INSIDE


def list_runpath_entries(image: Image) -> list[str]:
    """Return the entries of RUNPATH, or of RPATH if there is no RUNPATH."""
    # DT_RPATH is ignored if the object has a DT_RUNPATH (ld.so(8)).
    text = image.runpath if image.runpath is not None else image.rpath
    return text.split(":") if text else []


def find_entries_to_keep(tree: Tree, image: Image, homes: Iterable[str]) -> list[str]:
    """Return the entries that never leave the pack, each once.

    Args:
        tree: the pack.
        image: the object that has the entries.
        homes: the possible values of ``$ORIGIN`` in it.
    """
    allowed = (RunpathKind.INSIDE, RunpathKind.ABSENT, RunpathKind.VARIES)
    origins = tuple(homes)
    return [
        entry
        for entry in dict.fromkeys(list_runpath_entries(image))
        if all(classify_runpath_entry(tree, entry, home, image) in allowed for home in origins)
    ]


def find_reachable_entries(tree: Tree, entries: Sequence[str], homes: Sequence[str]) -> list[str]:
    """Return the entries that lead to a directory of the pack, or may do so on some host.

    Of several entries that lead to the same directory the first one is returned.

    Args:
        tree: the pack.
        entries: the result of `find_entries_to_keep`.
        homes: the possible values of ``$ORIGIN``.
    """
    found: dict[tuple[object, ...], str] = {}
    for entry in entries:
        ends = tuple(_resolve_entry(tree, entry, home) for home in homes)
        if not all(end is Unresolved.MISSING for end in ends):
            found.setdefault(ends, entry)
    return list(found.values())


def _resolve_entry(tree: Tree, entry: str, home: str) -> str | Unresolved:
    base, path = expand_entry(entry, home)
    return entry if base is PathBase.HOST else resolve_path(tree, path)


def is_valid_entry(entry: str) -> bool:
    """Return whether the loader takes ``entry`` after its leading ``$ORIGIN`` literally.

    A directory name with ``:`` would be split into two entries, and one with ``$LIB`` or another
    token would be expanded (glibc's elf/dl-load.c, decompose_rpath and _dl_dst_count).
    """
    return ":" not in entry and not TOKEN.search(entry, len("$ORIGIN"))


TOKEN = re.compile(r"\$(\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM))")
