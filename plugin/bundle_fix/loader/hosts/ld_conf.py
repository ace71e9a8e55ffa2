"""``/etc/ld.so.conf``: which directories ldconfig lists, and what it would write of them.

Source: glibc's elf/ldconfig.c, parse_conf and search_dir.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.tree import Unresolved

CONF = "/etc/ld.so.conf"
MAX_FILES = 200
"""Files that includes may lead to."""
MAX_PLACES = 10_000
"""Places that one pattern may name."""
LIBRARY = re.compile(r"(lib|ld-).*\.so.*")


def read_ld_conf(view: View, files: Sequence[str] = (CONF,)) -> tuple[str, ...]:
    """The directories that a host's ld.so.conf lists, in its order, with its includes.

    Args:
        view: the host.
        files: what is read; packages bring files that the host's own includes.
    """
    seen: set[str] = set()
    return tuple(
        dict.fromkeys(line for path in files for line in _read_directories(view, path, seen))
    )


def _read_directories(view: View, path: str, seen: set[str]) -> Iterator[str]:
    if path in seen or len(seen) >= MAX_FILES:
        return
    seen.add(path)
    for raw in (view.read_bytes(path) or b"").splitlines():
        line = os.fsdecode(raw).partition("#")[0].strip()
        words = line.split()
        if not words or words[0] == "hwcap":
            continue
        if words[0] == "include":
            for pattern in words[1:]:
                full = posixpath.join(posixpath.dirname(path), pattern)
                for name in _expand_pattern(view, full):
                    yield from _read_directories(view, name, seen)
        elif line.startswith("/"):
            # A directory may have =TYPE behind it, as old files do (libc5, libc6).
            yield posixpath.normpath(line.partition("=")[0].strip())


def _expand_pattern(view: View, pattern: str) -> list[str]:
    """The files that a pattern of ``include`` names, sorted as glob(3) sorts them."""
    places = ["/"]
    for part in pattern.strip("/").split("/"):
        if any(c in part for c in "*?["):
            places = [
                posixpath.join(place, name)
                for place in places
                for name in _list_names(view, place)
                if fnmatch.fnmatchcase(name, part) and not name.startswith(".")
            ][:MAX_PLACES]
        else:
            places = [posixpath.join(place, part) for place in places]
    return places


def _list_names(view: View, folder: str) -> list[str]:
    real = view.resolve_directory(folder)
    return [] if isinstance(real, Unresolved) or view.host is None else view.host.list_names(real)


def simulate_ldconfig(view: View, directories: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """What ldconfig would write for a host that has no cache: for every soname its files."""
    found: dict[str, dict[str, None]] = {}
    for directory in directories:
        for name in _list_names(view, directory):
            path = posixpath.join(directory, name)
            real = view.resolve_path(path) if LIBRARY.fullmatch(name) else Unresolved.MISSING
            image = None if isinstance(real, Unresolved) else view.find_image(real)
            if isinstance(image, Image) and image.is_library:
                soname = image.soname or name
                # ldconfig makes a link of the soname where there is none.
                link = posixpath.join(directory, soname)
                there = isinstance(view.resolve_path(link), str)
                found.setdefault(soname, {})[link if there else path] = None
    return {name: tuple(paths) for name, paths in found.items()}
