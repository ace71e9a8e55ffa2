"""Plan for a wheel, which cannot contain symlinks: each library is stored once, as its soname."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.wheel import find_signatures
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import CHUNK, Content, PathContent, read_chunks
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.tree import File, Node, Tree, resolve_path
from bundle_fix.plan.links import find_missing_soname_symlinks
from bundle_fix.plan.modes import find_wrong_modes
from bundle_fix.plan.planner import Plan, group_identical_files, set_modes
from bundle_fix.plan.runpaths import plan_runpaths

TEXT_SUFFIXES = (".py", ".pyi", ".json", ".toml", ".cmake")
"""Suffixes of text files that may contain the name of a library to be opened."""


def make_wheel_plan(bundle: Bundle, pinned: Sequence[str] = (), code: Sequence[Path] = ()) -> Plan:
    """Plan the changes that ``bundle-fix fix`` makes to a wheel.

    Args:
        bundle: the unchanged wheel; its contents must be open.
        pinned: patterns of the sonames to be needed by path, without a search.
        code: files outside the wheel that may contain names of its libraries.
    """
    bundle = _replace_symlinks(bundle)
    dropped, remarks = _find_copies(bundle, code)
    deduplicated = _remove_files(bundle, dropped)
    renamed: dict[str, str] = {}
    for new, old in find_missing_soname_symlinks(deduplicated).items():
        remark = _find_reference(deduplicated, old, code)
        if remark:
            remarks[old] = remark
        else:
            renamed[old] = new
    result = _rename_files(deduplicated, renamed)
    modes = {path: wrong.better for path, wrong in find_wrong_modes(result).items()}
    edits, choices = plan_runpaths(result, pinned)
    if dropped or renamed or modes or edits:
        remarks |= dict.fromkeys(
            find_signatures(bundle.tree), "removed: it is a signature of the old RECORD"
        )
    return Plan(
        moved={},
        symlinks={},
        merged=frozenset(),
        modes=modes,
        edits=edits,
        remarks={**choices, **{path: (text,) for path, text in remarks.items()}},
        tree=set_modes(result.tree, modes),
        images=result.images,
        renamed=renamed,
        dropped=dropped,
    )


def _replace_symlinks(bundle: Bundle) -> Bundle:
    """Return ``bundle`` with each symlink to a file replaced by a copy, as in a wheel."""
    nodes: dict[str, Node] = dict(bundle.tree.nodes)
    images = dict(bundle.images)
    for path, _ in bundle.tree.iter_symlinks():
        end = resolve_path(bundle.tree, path)
        target = bundle.tree.nodes.get(end) if isinstance(end, str) else None
        if isinstance(target, File):
            nodes[path] = replace(target, header=None, preceding=None, hardlink=None)
            if end in images:
                images[path] = images[str(end)]
    return build_bundle(Tree(nodes, bundle.tree.top), images) if nodes else bundle


def _find_copies(bundle: Bundle, code: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the superfluous copies of libraries in one directory, and remarks by path.

    The first mapping has the path of each copy and the path of the file that remains.
    """
    groups: dict[tuple[str, str, int], list[str]] = {}
    for path in bundle.list_libraries():
        image = bundle.images[path]
        if image.soname and get_library_stem(path) == get_library_stem(image.soname):
            key = (posixpath.dirname(path), image.soname, image.size)
            groups.setdefault(key, []).append(path)
    dropped: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for (_, soname, _), paths in groups.items():
        for same in group_identical_files(bundle, sorted(paths, key=_order_by_length)):
            named = [path for path in same if posixpath.basename(path) == soname]
            remaining = (named or same)[0]
            for copy in same:
                if copy == remaining:
                    continue
                remark = _find_reference(bundle, copy, code)
                if remark:
                    remarks[copy] = remark
                else:
                    dropped[copy] = remaining
    return dropped, remarks


def _find_reference(bundle: Bundle, path: str, code: Sequence[Path]) -> str:
    """Return a remark on what refers to a library by its current name, or an empty text."""
    name = posixpath.basename(path)
    for other, image in bundle.images.items():
        if name in image.needed:
            return f"name kept: {other} needs it"
    texts = ((p, n.content) for p, n in bundle.tree.iter_files() if p.endswith(TEXT_SUFFIXES))
    outside = ((str(p), PathContent(p.resolve(), p.stat().st_size)) for p in code)
    for other, content in (*texts, *outside):
        if _contains_name(content, name):
            return f"name kept: {other} contains it"
    return ""


def _contains_name(content: Content, name: str) -> bool:
    word = name.encode("utf-8", "surrogateescape")
    end = b""
    with content.open() as reader:
        for piece in read_chunks(reader):
            if _contains_word(end + piece, word):
                return True
            end = (end + piece)[-min(CHUNK, len(word) + 1) :]
    return False


def _contains_word(data: bytes, word: bytes) -> bool:
    """Return whether ``word`` is in ``data``, not as the start of a longer name (``libx.so.4``)."""
    at = data.find(word)
    while at >= 0:
        follows = data[at + len(word) : at + len(word) + 1]
        if follows != b"." and not follows.isalnum():
            return True
        at = data.find(word, at + 1)
    return False


def _remove_files(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    if not paths:
        return bundle
    nodes = {path: node for path, node in bundle.tree.nodes.items() if path not in paths}
    images = {path: image for path, image in bundle.images.items() if path not in paths}
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def _rename_files(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    if not paths:
        return bundle
    nodes: dict[str, Node] = {
        paths.get(path, path): replace(node, header=None) if path in paths else node
        for path, node in bundle.tree.nodes.items()
    }
    images = {paths.get(path, path): image for path, image in bundle.images.items()}
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def _order_by_length(path: str) -> tuple[int, str]:
    return -len(posixpath.basename(path)), path
