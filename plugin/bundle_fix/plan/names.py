"""New names of libraries in a pack: symlinks, or files where symlinks would get lost.

Wheels and npm packages are installed without symlinks, and most programs that unpack zip archives
write a text file in place of one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import CHUNK, Content, PathContent, read_chunks
from bundle_fix.model.tree import File, Node, Symlink, resolve_path

TEXT_SUFFIXES = (".py", ".pyi", ".json", ".toml", ".cmake")
"""Suffixes of text files that may contain the name of a library to be opened."""


class NewNames(Struct, frozen=True):
    """The new names of libraries.

    Attributes:
        symlinks: symlinks to add or to replace: path to target.
        renamed: libraries with another name: old path to new path.
        copied: copies under another name: path to the path of the original.
    """

    symlinks: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    copied: Mapping[str, str] = field(default_factory=dict)


def plan_names(bundle: Bundle, symlinks: Mapping[str, str]) -> NewNames:
    """Return the names by which files can stand for ``symlinks`` (path to target).

    A library is renamed if nothing can ask for its old name, else it is copied.
    """
    renamed: dict[str, str] = {}
    copied: dict[str, str] = {}
    for path, target in symlinks.items():
        original = resolve_path(bundle.tree, posixpath.join(posixpath.dirname(path), target))
        if not isinstance(original, str) or original not in bundle.images:
            continue
        if path in bundle.tree.nodes or original in renamed or find_reference(bundle, original, ()):
            copied[path] = original
        else:
            renamed[original] = path
    copies = {path: renamed.get(original, original) for path, original in copied.items()}
    return NewNames(renamed=renamed, copied=copies)


def find_replaceable_symlinks(bundle: Bundle) -> Mapping[str, str]:
    """Return the symlinks that lead to a file of the pack: path to the path of the file."""
    ends = {path: resolve_path(bundle.tree, path) for path, _ in bundle.tree.iter_symlinks()}
    return {
        path: end
        for path, end in ends.items()
        if isinstance(end, str) and isinstance(bundle.tree.nodes.get(end), File)
    }


def add_names(bundle: Bundle, names: NewNames) -> Bundle:
    """Return ``bundle`` with new names of its libraries."""
    renamed = rename_files(bundle, names.renamed)
    return add_symlinks(copy_files(renamed, names.copied), names.symlinks)


def rename_files(bundle: Bundle, paths: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with files under other names: old path to new path."""
    if not paths:
        return bundle
    nodes: dict[str, Node] = {
        paths.get(path, path): replace(node, header=None) if path in paths else node
        for path, node in bundle.tree.nodes.items()
    }
    images = {paths.get(path, path): image for path, image in bundle.images.items()}
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def copy_files(bundle: Bundle, copies: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with copies of files: path to the path of the original."""
    if not copies:
        return bundle
    nodes: dict[str, Node] = dict(bundle.tree.nodes)
    images = dict(bundle.images)
    for path, original in copies.items():
        nodes[path] = replace(nodes[original], header=None, preceding=None, hardlink=None)
        if original in images:
            images[path] = images[original]
    return build_bundle(replace(bundle.tree, nodes=nodes), images)


def add_symlinks(bundle: Bundle, links: Mapping[str, str]) -> Bundle:
    """Return ``bundle`` with symlinks added or replacing members; new ones follow their target."""
    if not links:
        return bundle
    added: dict[str, list[str]] = {}
    for path, target in links.items():
        if path not in bundle.tree.nodes:
            target_path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            added.setdefault(target_path, []).append(path)
    nodes: dict[str, Node] = {}
    for path, node in bundle.tree.nodes.items():
        nodes[path] = _make_symlink(links[path], node) if path in links else node
        for new in added.get(path, ()):
            nodes[new] = replace(_make_symlink(links[new], node), preceding=None)
    tree = replace(bundle.tree, nodes=nodes)
    images = {path: image for path, image in bundle.images.items() if path not in links}
    return build_bundle(tree, images)


def _make_symlink(target: str, member: Node) -> Symlink:
    """Return a symlink with the owner, time and position of ``member``."""
    return Symlink(
        target, replace(member.metadata, mode=0o777, extra={}), preceding=member.preceding
    )


def find_reference(bundle: Bundle, path: str, code: Sequence[Path]) -> str:
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
