"""What must change in a pack so that every needed name leads to the pack's own file.

A plan is made from the pack as it is, before anything is rewritten: what an object needs is found
through its original RPATH and RUNPATH. Layout stays; members without a part in it stay as they are.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.model.tree import File, Node, Symlink, Tree, get_relative_path, resolve_path
from bundle_fix.plan.links import find_broken_symlinks, find_missing_soname_symlinks
from bundle_fix.plan.modes import find_wrong_modes
from bundle_fix.plan.relocate import RelocatedBundle, move_libraries
from bundle_fix.plan.runpaths import plan_runpaths

T = TypeVar("T")


class Plan(Struct, frozen=True):
    """All changes to a pack.

    Attributes:
        moved: libraries, and links beside them, that move: old path to new path.
        symlinks: links to add, or to put in the place of a member: path to target.
        merged: the paths among ``symlinks`` that were identical copies of a library.
        modes: path to new permission bits.
        edits: path of an ELF file to what changes in it.
        remarks: path of an ELF file to what its user should know: a choice that was made, or could
            not be made.
        tree: the tree with moves, links and modes as planned, ELF files as they were.
        images: the images of its ELF files, as they were read.
        renamed: libraries of a wheel that take another name: old path to new path.
        dropped: copies in a wheel that go: path to the path of the one that stays.
    """

    moved: Mapping[str, str]
    symlinks: Mapping[str, str]
    merged: frozenset[str]
    modes: Mapping[str, int]
    edits: Mapping[str, Changes]
    remarks: Mapping[str, tuple[str, ...]]
    tree: Tree
    images: Mapping[str, Image]
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to change."""
        return not (
            self.moved or self.symlinks or self.modes or self.edits or self.renamed or self.dropped
        )


def make_plan(
    bundle: Bundle,
    pinned: Sequence[str] = (),
    move_to: str = "",
    own: Collection[str] | None = None,
    opened: Sequence[str] = (),
) -> Plan:
    """The changes that `bundle-fix fix` makes; by default the layout stays.

    Args:
        bundle: the pack as it is; its contents must be open.
        pinned: patterns of sonames that are needed by path, before any search.
        move_to: the folder of the pack that libraries beside programs move to; none when empty.
        own: the paths of the members that may change; all when None.
        opened: names that its objects open at run time.

    Raises:
        BundleFixError: nothing can be moved to ``move_to``.
    """
    start = move_libraries(bundle, move_to) if move_to else RelocatedBundle(bundle, {}, {})
    copies = find_identical_copies(start.bundle, own)
    merged = _with_links(start.bundle, copies)
    missing = _soname_links(merged, own)
    linked = _with_links(merged, missing)
    modes = {path: wrong.better for path, wrong in _of(own, find_wrong_modes(linked)).items()}
    tree = set_modes(linked.tree, modes)
    edits, remarks = plan_runpaths(linked, pinned, opened)
    return Plan(
        moved=start.paths,
        symlinks={**copies, **missing},
        merged=frozenset(copies),
        modes=modes,
        edits=_of(own, edits),
        remarks={**start.remarks, **_of(own, remarks)},
        tree=tree,
        images=linked.images,
    )


def _of(own: Collection[str] | None, found: Mapping[str, T]) -> dict[str, T]:
    """What was found of the paths that may change."""
    return {path: what for path, what in found.items() if own is None or path in own}


def find_identical_copies(bundle: Bundle, own: Collection[str] | None = None) -> dict[str, str]:
    """Libraries of which there are several copies: the path of each copy to a link's target.

    The copy that stays is the one with the longest name, which is the real file's
    (``libx.so.4.6.11``); among equals the one nearest to the root.
    """
    # Hard links to one file are one copy already.
    shared = {file.twin or path for path, file in bundle.tree.files() if file.twin}
    groups: dict[tuple[str, str, int], list[str]] = {}
    for path in bundle.libraries():
        if own is not None and path not in own:
            continue
        image, node = bundle.images[path], bundle.tree.nodes[path]
        alone = isinstance(node, File) and (node.twin or path) not in shared
        if image.soname and alone and "glibc-hwcaps" not in path:
            key = (_installation(bundle.tree, path), image.soname, image.size)
            groups.setdefault(key, []).append(path)
    links: dict[str, str] = {}
    for paths in groups.values():
        ordered = sorted(paths, key=lambda p: (-len(posixpath.basename(p)), p.count("/"), p))
        for kept, *others in group_identical_files(bundle, ordered):
            for copy in others:
                links[copy] = get_relative_path(kept, posixpath.dirname(copy))
    return links


def group_identical_files(bundle: Bundle, paths: Sequence[str]) -> Iterator[list[str]]:
    """``paths``, ELF files of one size, in groups that hold the same bytes, in their order."""
    left = list(paths)
    while left:
        first, *others = left
        same = [first, *(other for other in others if bundle.same_file(first, other))]
        yield same
        left = [other for other in others if other not in same]


def _installation(tree: Tree, path: str) -> str:
    """The top folder that ``path`` lies in, where that is an installation of its own.

    Of several installations in one archive each may be moved away, so no link joins them.
    """
    top = path.partition("/")[0]
    has_libraries = any(f"{top}/{name}" in tree.folders for name in ("lib", "lib64"))
    return top if has_libraries and f"{top}/bin" in tree.folders else ""


def _soname_links(bundle: Bundle, own: Collection[str] | None) -> dict[str, str]:
    """Soname links that are missing, and dangling links that have a library beside them."""
    links = {
        link: get_relative_path(path, posixpath.dirname(link))
        for link, path in find_missing_soname_symlinks(bundle).items()
        if own is None or path in own
    }
    for path, (target, _) in _of(own, find_broken_symlinks(bundle.tree)).items():
        beside = posixpath.join(posixpath.dirname(path), posixpath.basename(target))
        end = resolve_path(bundle.tree, beside)
        if path not in links and isinstance(end, str) and end in bundle.images:
            links[path] = posixpath.basename(target)
    return links


def _with_links(bundle: Bundle, links: Mapping[str, str]) -> Bundle:
    """``bundle`` with links added, or in the place of members; new ones stand by their target."""
    if not links:
        return bundle
    added: dict[str, list[str]] = {}
    for path, target in links.items():
        if path not in bundle.tree.nodes:
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            added.setdefault(beside, []).append(path)
    nodes: dict[str, Node] = {}
    for path, node in bundle.tree.nodes.items():
        nodes[path] = _link(links[path], node) if path in links else node
        for new in added.get(path, ()):
            nodes[new] = replace(_link(links[new], node), before=None)
    tree = replace(bundle.tree, nodes=nodes)
    images = {path: image for path, image in bundle.images.items() if path not in links}
    return make_bundle(tree, images)


def _link(target: str, member: Node) -> Symlink:
    """A link with the owner and the time of ``member``, in its place."""
    return Symlink(target, replace(member.stamp, mode=0o777, extra={}), before=member.before)


def set_modes(tree: Tree, modes: Mapping[str, int]) -> Tree:
    """``tree`` with other permission bits at some paths."""
    if not modes:
        return tree
    nodes = dict(tree.nodes)
    for path, mode in modes.items():
        node = nodes[path]
        nodes[path] = replace(node, stamp=replace(node.stamp, mode=mode), header=None)
    return replace(tree, nodes=nodes)
