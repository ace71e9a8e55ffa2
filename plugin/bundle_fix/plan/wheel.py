"""What must change in a wheel: it cannot hold links, so each library lands once, as its soname."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.wheel import signatures
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.model.content import CHUNK, Content, PathContent, read_chunks
from bundle_fix.model.tree import File, Node, Tree, resolve_path
from bundle_fix.plan.links import find_missing_soname_symlinks
from bundle_fix.plan.modes import find_wrong_modes
from bundle_fix.plan.planner import Plan, group_identical_files, set_modes
from bundle_fix.plan.runpaths import plan_runpaths

NAMING = (".py", ".pyi", ".json", ".toml", ".cmake")
"""Suffixes of files in which a library is named that is opened by that name."""


def make_wheel_plan(bundle: Bundle, pinned: Sequence[str] = (), code: Sequence[Path] = ()) -> Plan:
    """The changes that `bundle-fix fix` makes to a wheel.

    Args:
        bundle: the wheel as it is; its contents must be open.
        pinned: patterns of sonames that are needed by path, before any search.
        code: files outside the wheel that may name its libraries.
    """
    bundle = _without_links(bundle)
    dropped, remarks = _copies(bundle, code)
    once = _without(bundle, dropped)
    renamed = {old: new for new, old in find_missing_soname_symlinks(once).items()}
    renamed = {old: new for old, new in renamed.items() if not _is_wanted(once, old, remarks, code)}
    landed = _renamed(once, renamed)
    modes = {path: wrong.better for path, wrong in find_wrong_modes(landed).items()}
    edits, choices = plan_runpaths(landed, pinned)
    if dropped or renamed or modes or edits:
        remarks |= dict.fromkeys(signatures(bundle.tree), "dropped: it signs the RECORD that was")
    return Plan(
        moved={},
        symlinks={},
        merged=frozenset(),
        modes=modes,
        edits=edits,
        remarks={**choices, **{path: (text,) for path, text in remarks.items()}},
        tree=set_modes(landed.tree, modes),
        images=landed.images,
        renamed=renamed,
        dropped=dropped,
    )


def _without_links(bundle: Bundle) -> Bundle:
    """``bundle`` as a wheel holds it: each link to a file is a copy of the file."""
    nodes: dict[str, Node] = dict(bundle.tree.nodes)
    images = dict(bundle.images)
    for path, _ in bundle.tree.links():
        end = resolve_path(bundle.tree, path)
        target = bundle.tree.nodes.get(end) if isinstance(end, str) else None
        if isinstance(target, File):
            nodes[path] = replace(target, header=None, before=None, twin=None)
            if end in images:
                images[path] = images[str(end)]
    return make_bundle(Tree(nodes, bundle.tree.top), images) if nodes else bundle


def _copies(bundle: Bundle, code: Sequence[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Copies, in one folder, of a library: path to the path that stays; and what must be said."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for path in bundle.libraries():
        image = bundle.images[path]
        if image.soname and _stem(path) == _stem(image.soname):
            key = (posixpath.dirname(path), image.soname, image.size)
            groups.setdefault(key, []).append(path)
    dropped: dict[str, str] = {}
    remarks: dict[str, str] = {}
    for (_, soname, _), paths in groups.items():
        for same in group_identical_files(bundle, sorted(paths, key=_length)):
            named = [path for path in same if posixpath.basename(path) == soname]
            kept = (named or same)[0]
            for copy in same:
                if copy != kept and not _is_wanted(bundle, copy, remarks, code):
                    dropped[copy] = kept
    return dropped, remarks


def _is_wanted(bundle: Bundle, path: str, remarks: dict[str, str], code: Sequence[Path]) -> bool:
    """Whether something in the wheel asks for a library by the name of this file; it is told."""
    name = posixpath.basename(path)
    for other, image in bundle.images.items():
        if name in image.needed:
            remarks[path] = f"stays: {other} needs it by this name"
            return True
    texts = ((p, n.content) for p, n in bundle.tree.files() if p.endswith(NAMING))
    outside = ((str(p), PathContent(p.resolve(), p.stat().st_size)) for p in code)
    for other, content in (*texts, *outside):
        if _holds(content, name):
            remarks[path] = f"stays: {other} names it"
            return True
    return False


def _holds(content: Content, name: str) -> bool:
    wanted = name.encode("utf-8", "surrogateescape")
    end = b""
    with content.open() as reader:
        for piece in read_chunks(reader):
            if _as_a_word(end + piece, wanted):
                return True
            end = (end + piece)[-min(CHUNK, len(wanted) + 1) :]
    return False


def _as_a_word(data: bytes, wanted: bytes) -> bool:
    """Whether ``wanted`` is in ``data`` and is not the start of a longer name (``libx.so.4``)."""
    at = data.find(wanted)
    while at >= 0:
        follows = data[at + len(wanted) : at + len(wanted) + 1]
        if follows != b"." and not follows.isalnum():
            return True
        at = data.find(wanted, at + 1)
    return False


def _without(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    if not paths:
        return bundle
    nodes = {path: node for path, node in bundle.tree.nodes.items() if path not in paths}
    images = {path: image for path, image in bundle.images.items() if path not in paths}
    return make_bundle(replace(bundle.tree, nodes=nodes), images)


def _renamed(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    if not paths:
        return bundle
    nodes: dict[str, Node] = {
        paths.get(path, path): replace(node, header=None) if path in paths else node
        for path, node in bundle.tree.nodes.items()
    }
    images = {paths.get(path, path): image for path, image in bundle.images.items()}
    return make_bundle(replace(bundle.tree, nodes=nodes), images)


def _length(path: str) -> tuple[int, str]:
    return -len(posixpath.basename(path)), path


def _stem(path: str) -> str:
    return posixpath.basename(path).partition(".so")[0]
