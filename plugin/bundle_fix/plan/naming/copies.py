"""Identical copies of libraries."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Sequence

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import File, Tree, get_relative_path


def find_identical_copies(bundle: Bundle, own: Collection[str] | None = None) -> dict[str, str]:
    """Return the identical copies of libraries: path to the target of the symlink replacing it.

    The original is the file with the longest name, usually the full version (``libx.so.4.6.11``);
    among several the one nearest to the root.
    """
    # Hard links already share one copy.
    hard_linked = {
        file.hardlink or path for path, file in bundle.tree.iter_files() if file.hardlink
    }
    groups: dict[tuple[str, str, int], list[str]] = {}
    for path in bundle.list_libraries():
        if own is not None and path not in own:
            continue
        image, node = bundle.images[path], bundle.tree.nodes[path]
        is_single = isinstance(node, File) and (node.hardlink or path) not in hard_linked
        if image.soname and is_single and "glibc-hwcaps" not in path:
            key = (_find_installation(bundle.tree, path), image.soname, image.size)
            groups.setdefault(key, []).append(path)
    links: dict[str, str] = {}
    for paths in groups.values():
        ordered = sorted(paths, key=lambda p: (-len(posixpath.basename(p)), p.count("/"), p))
        for original, *others in group_identical_files(bundle, ordered):
            for copy in others:
                links[copy] = get_relative_path(original, posixpath.dirname(copy))
    return links


def group_identical_files(bundle: Bundle, paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield groups of files with the same content; ``paths`` are ELF files of the same size."""
    remaining = list(paths)
    while remaining:
        first, *others = remaining
        same = [first, *(other for other in others if bundle.has_same_bytes(first, other))]
        yield same
        remaining = [other for other in others if other not in same]


def _find_installation(tree: Tree, path: str) -> str:
    """Return the top directory of ``path`` if it is an installation with bin/ and lib/, else "".

    No symlink may connect two installations of one archive, since each can be moved on its own.
    """
    top = path.partition("/")[0]
    has_libraries = any(f"{top}/{name}" in tree.directories for name in ("lib", "lib64"))
    return top if has_libraries and f"{top}/bin" in tree.directories else ""
