"""Measure the files of an artifact, and find those that are in it more than once."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import Content
from bundle_fix.report.graphs.sizes import Copies, FileSize, Sizes
from bundle_fix.storage.digests import compute_digests

MAX_FILES = 80
"""Files with a size of their own; the others are added up by directory."""
SMALLEST_COPY = 4096
"""Bytes of the smallest file that is compared with others."""


def measure_files(bundle: Bundle) -> Sizes:
    """Return the sizes and the copies of the files of a bundle, whose contents must be open."""
    # A hard link has no bytes of its own.
    contents = {path: f.content for path, f in bundle.tree.iter_files() if f.hardlink is None}
    files = sorted(
        (FileSize(path, content.size) for path, content in contents.items() if content.size),
        key=lambda file: (-file.size, file.path),
    )
    rest = _add_up(files[MAX_FILES:])
    same = find_same_files(contents)
    copies = (*same, *_find_same_sonames(bundle, same))
    shown = sorted((*files[:MAX_FILES], *rest), key=lambda file: (-file.size, file.path))
    return Sizes(
        sum(file.size for file in files),
        tuple(shown),
        tuple(sorted(copies, key=lambda c: (-c.wasted, -c.size, c.paths))),
    )


def _add_up(files: Sequence[FileSize]) -> list[FileSize]:
    """Return one size for all small files of a directory at the top, or the file if it is alone."""
    totals: dict[str, FileSize] = {}
    for file in files:
        top = file.path.partition("/")[0] if "/" in file.path else ""
        known = totals.get(top)
        totals[top] = FileSize(top, known.size + file.size, known.count + 1) if known else file
    return list(totals.values())


def find_same_files(contents: Mapping[str, Content]) -> list[Copies]:
    """Return the groups of files with the same bytes; only files of one size are read."""
    by_size: dict[int, list[str]] = {}
    for path, content in contents.items():
        if content.size >= SMALLEST_COPY:
            by_size.setdefault(content.size, []).append(path)
    candidates = [path for paths in by_size.values() if len(paths) > 1 for path in paths]
    digests = compute_digests(contents[path] for path in candidates)
    groups: dict[str, list[str]] = {}
    for path in candidates:
        groups.setdefault(digests[contents[path]], []).append(path)
    return [
        Copies(tuple(sorted(paths)), contents[paths[0]].size)
        for paths in groups.values()
        if len(paths) > 1
    ]


def _find_same_sonames(bundle: Bundle, same: Iterable[Copies]) -> list[Copies]:
    """Return the groups of different files of one architecture that have the same soname."""
    first_copy = {path: copies.paths[0] for copies in same for path in copies.paths}
    groups: dict[object, set[str]] = {}
    for path, image in bundle.images.items():
        if image.is_library and image.soname:
            key = (posixpath.basename(image.soname), image.architecture)
            groups.setdefault(key, set()).add(first_copy.get(path, path))
    found = []
    for paths in groups.values():
        if len(paths) > 1:
            ordered = tuple(sorted(paths))
            soname = posixpath.basename(bundle.images[ordered[0]].soname or "")
            sizes = [bundle.get_content(path).size for path in ordered]
            found.append(Copies(ordered, max(sizes), soname))
    return found
