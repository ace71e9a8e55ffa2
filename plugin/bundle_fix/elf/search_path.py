"""Changes of the search path (RUNPATH, RPATH) that depend on the path that a file has."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at


class SearchPathChange(Struct, frozen=True):
    """A change to the search path of a file.

    Attributes:
        added: entries to append, each of which may be a list with colons.
        shrink: whether to remove the absolute directories without a needed library.
        prefixes: for ``shrink``, the prefixes of the directories that may stay; empty for all.
        as_rpath: whether the result is DT_RPATH; otherwise it is DT_RUNPATH.
    """

    added: tuple[str, ...] = ()
    shrink: bool = False
    prefixes: tuple[str, ...] = ()
    as_rpath: bool = False


def apply_search_path_change(changes: Changes, image: Image, change: SearchPathChange) -> Changes:
    """Return ``changes`` with the new search path of one file.

    A file without a search path has nothing to shrink.
    """
    path = image.rpath if image.runpath is None else image.runpath
    if change.shrink and path is None and not change.added:
        return changes
    if change.shrink:
        path = _shrink_path(path or "", image, change.prefixes)
    path = ":".join(filter(None, (path, *change.added)))
    return replace(changes, **{"rpath" if change.as_rpath else "runpath": path})


def _shrink_path(path: str, image: Image, prefixes: tuple[str, ...]) -> str:
    """Return ``path`` without the directories that no needed library is found in.

    As in patchelf, entries that are not absolute stay, and a library counts for the first directory
    that has it for the same machine.
    """
    missing = dict.fromkeys(image.needed)
    kept = []
    for entry in path.split(":"):
        if entry and not entry.startswith("/"):
            kept.append(entry)
        elif entry and (not prefixes or entry.startswith(prefixes)):
            found = [name for name in missing if _is_library_for(Path(entry, name), image)]
            kept += [entry] if found else []
            for name in found:
                del missing[name]
    return ":".join(kept)


def _is_library_for(path: Path, image: Image) -> bool:
    library = read_image_at(path)
    return library is not None and library.header.machine == image.header.machine
