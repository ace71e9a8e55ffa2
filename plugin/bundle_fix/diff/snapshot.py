"""Snapshots: one of two compared artifacts, with the facts about it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from bundle_fix.archive.names import find_top_directory
from bundle_fix.check.checker import check_context
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.ignores import UNUSED_IGNORE
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.entry_points import find_elf_file
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.process import Resolution
from bundle_fix.model.content import Content
from bundle_fix.model.tree import Directory, File, Node, Tree
from bundle_fix.policy.severity import Severity


class ProcessNeed(Struct, frozen=True):
    """A resolved need in the process of one entry point, and its severity if it fails."""

    severity: Severity
    entry: str
    resolution: Resolution


class Snapshot(Struct, frozen=True, dict=True):
    """An artifact on its target, whose contents must stay open; ``name`` is for messages."""

    name: str
    context: Context

    @property
    def bundle(self) -> Bundle:
        """The bundle of the artifact."""
        return self.context.bundle

    @cached_property
    def check_result(self) -> CheckResult:
        """The result of a check."""
        return check_context(self.context)

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The compared members: a single file given by the user, or all."""
        only, nodes = self.context.only, self.bundle.tree.nodes
        return nodes if only is None else {only: nodes[only]}

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """The contents of the compared files, in the order of the artifact."""
        return {path: node.content for path, node in self.nodes.items() if isinstance(node, File)}

    @cached_property
    def needs(self) -> Mapping[tuple[str, str], tuple[ProcessNeed, ...]]:
        """The resolved needs of all processes, by the path of the object and the needed name."""
        found: dict[tuple[str, str], list[ProcessNeed]] = {}
        for severity, process, need in self.context.resolutions:
            key = (need.requester.label, need.name)
            found.setdefault(key, []).append(ProcessNeed(severity, process.entry, need))
        return {key: tuple(needs) for key, needs in found.items()}

    @cached_property
    def host_libraries(self) -> Mapping[str, LoadedObject]:
        """The objects loaded from the host, by needed name."""
        resolutions = (need.resolution for needs in self.needs.values() for need in needs)
        return {r.name: r.result for r in resolutions if r.result.origin is ObjectOrigin.HOST}

    def list_findings(self) -> Iterator[Finding]:
        """Return the findings about the pack itself, without those about the policy."""
        return (f for f in self.check_result.findings if f.rule != UNUSED_IGNORE.code)


def find_common_root(old: Tree, new: Tree) -> tuple[str, str]:
    """Return the prefixes by which the paths of two trees differ.

    The paths of an archive do not contain the directory around all its members, but the paths of a
    directory into which the archive was unpacked do.

    Returns:
        The directory to remove from an old path and the one to add to it, for a path in the new
        tree; each may be empty.
    """
    before, after = _find_root_directory(old), _find_root_directory(new)
    if before == after != "":
        return "", ""
    # A directory that has siblings in the other pack does not contain the whole pack.
    old_root = "" if before in new.directories else before
    new_root = "" if after in old.directories else after
    tops = _get_top(old), _get_top(new)
    if not (after or tops[1]) and tops[0] in new.directories:
        new_root = tops[0]
    if not (before or tops[0]) and tops[1] in old.directories:
        old_root = tops[1]
    return old_root, new_root


def _get_top(tree: Tree) -> str:
    """Return the directory around all members of an archive, without ``./``."""
    return posixpath.normpath(tree.top).removeprefix(".")


def _find_root_directory(tree: Tree) -> str:
    """Return the single top-level directory of a tree without a directory around it, or ""."""
    if _get_top(tree):
        return ""
    return find_top_directory(
        (path, isinstance(node, Directory)) for path, node in tree.nodes.items()
    )


def find_matching_file(bundle: Bundle, image: Image, name: str, where: str) -> str:
    """Return the file of a pack to compare with a single ELF file.

    Args:
        bundle: the pack.
        image: the image of the single file.
        name: the name of the single file.
        where: the name of the pack, for messages.

    Raises:
        BundleFixError: the pack has no such file, or several.
    """
    libraries = [
        path
        for path in bundle.list_libraries()
        if image.soname
        and (bundle.images[path].soname, bundle.images[path].architecture)
        == (image.soname, image.architecture)
    ]
    return libraries[0] if len(libraries) == 1 else find_elf_file(bundle, name, where)
