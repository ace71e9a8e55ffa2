"""``/etc/ld.so.conf``: the directories that ldconfig reads, and the cache that it would write.

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
from bundle_fix.model.symlinks import Unresolved

LD_CONF_PATH = "/etc/ld.so.conf"
MAX_FILES = 200
"""Limit of the files that are included."""
MAX_MATCHES = 10_000
"""Limit of the paths that one pattern matches."""
LIBRARY_NAME = re.compile(r"(lib|ld-).*\.so.*")
"""The file names that ldconfig looks at (search_dir)."""


def read_ld_conf(view: View, files: Sequence[str] = (LD_CONF_PATH,)) -> tuple[str, ...]:
    """Return the directories that a host's ld.so.conf and its included files list, in order.

    Args:
        view: the host.
        files: the files to read: a package may install files that ld.so.conf of a host includes.
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
            # Old files have =TYPE after a directory (libc5, libc6).
            yield posixpath.normpath(line.partition("=")[0].strip())


def _expand_pattern(view: View, pattern: str) -> list[str]:
    """Return the paths that a pattern of ``include`` matches, sorted as glob(3) sorts them."""
    paths = ["/"]
    for part in pattern.strip("/").split("/"):
        if any(c in part for c in "*?["):
            paths = [
                posixpath.join(path, name)
                for path in paths
                for name in _list_names(view, path)
                if fnmatch.fnmatchcase(name, part) and not name.startswith(".")
            ][:MAX_MATCHES]
        else:
            paths = [posixpath.join(path, part) for path in paths]
    return paths


def _list_names(view: View, directory: str) -> list[str]:
    real = view.resolve_directory(directory)
    return [] if isinstance(real, Unresolved) or view.host is None else view.host.list_names(real)


def simulate_ldconfig(view: View, directories: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the cache that ldconfig would write: for each soname the paths of its files."""
    found: dict[str, dict[str, None]] = {}
    for directory in directories:
        for name in _list_names(view, directory):
            path = posixpath.join(directory, name)
            real = view.resolve_path(path) if LIBRARY_NAME.fullmatch(name) else Unresolved.MISSING
            image = None if isinstance(real, Unresolved) else view.find_image(real)
            if isinstance(image, Image) and image.is_library:
                soname = image.soname or name
                # ldconfig would create a symlink with the soname if there is no such file.
                symlink = posixpath.join(directory, soname)
                exists = isinstance(view.resolve_path(symlink), str)
                found.setdefault(soname, {})[symlink if exists else path] = None
    return {name: tuple(paths) for name, paths in found.items()}
