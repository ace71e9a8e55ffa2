"""One of two artifacts that are compared, with all that is asked about it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from bundle_fix.archive.names import top_folder
from bundle_fix.check.checker import check_context
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.ignores import UNUSED_IGNORE
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.entries import find_object
from bundle_fix.loader.objects import HOST, LoadedObject
from bundle_fix.loader.process import Resolution
from bundle_fix.model.content import Content
from bundle_fix.model.tree import Directory, File, Node, Tree
from bundle_fix.policy.severity import Severity


class ProcessNeed(Struct, frozen=True):
    """One entry point's need: how bad it is if it fails, and what it led to."""

    severity: Severity
    entry: str
    need: Resolution


class Snapshot(Struct, frozen=True, dict=True):
    """An artifact on its target; its contents must be open while it is asked.

    ``name`` is what the user calls it.
    """

    name: str
    context: Context

    @property
    def bundle(self) -> Bundle:
        """The artifact's bundle."""
        return self.context.bundle

    @cached_property
    def verdict(self) -> CheckResult:
        """What a check finds."""
        return check_context(self.context)

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The members that are compared: the one file that was asked about, or all."""
        only, nodes = self.context.only, self.bundle.tree.nodes
        return nodes if only is None else {only: nodes[only]}

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """The bytes of the files that are compared, in the artifact's order."""
        return {path: node.content for path, node in self.nodes.items() if isinstance(node, File)}

    @cached_property
    def uses(self) -> Mapping[tuple[str, str], tuple[ProcessNeed, ...]]:
        """By an object's path and a name that it needs: all processes in which it needs it."""
        found: dict[tuple[str, str], list[ProcessNeed]] = {}
        for severity, process, need in self.context.needs:
            key = (need.requester.label, need.name)
            found.setdefault(key, []).append(ProcessNeed(severity, process.entry, need))
        return {key: tuple(uses) for key, uses in found.items()}

    @cached_property
    def host_libraries(self) -> Mapping[str, LoadedObject]:
        """What the host gives, by needed name."""
        uses = (use for many in self.uses.values() for use in many)
        return {u.need.name: u.need.result for u in uses if u.need.result.origin == HOST}

    def findings(self) -> Iterator[Finding]:
        """What a check finds in the pack itself, and not in what was said of it."""
        return (f for f in self.verdict.findings if f.rule != UNUSED_IGNORE.code)


def find_common_root(old: Tree, new: Tree) -> tuple[str, str]:
    """The folder to leave off an old path and to put before it to have it in the new tree's words.

    The paths of an archive are without the folder around all of it, if there is one; those of a
    folder into which such an archive was unpacked have it.

    Returns:
        The folder to take off, and the one to put on; each may be empty.
    """
    before, after = _find_root_directory(old), _find_root_directory(new)
    if before == after != "":
        return "", ""
    # A folder that stands among others in the other pack is not the one around all of it.
    old_root = "" if before in new.directories else before
    new_root = "" if after in old.directories else after
    tops = _get_top(old), _get_top(new)
    if not (after or tops[1]) and tops[0] in new.directories:
        new_root = tops[0]
    if not (before or tops[0]) and tops[1] in old.directories:
        old_root = tops[1]
    return old_root, new_root


def _get_top(tree: Tree) -> str:
    """The folder around all of an archive, without ``./``."""
    return posixpath.normpath(tree.top).removeprefix(".")


def _find_root_directory(tree: Tree) -> str:
    """The one folder in the paths of a tree that has none around it."""
    if _get_top(tree):
        return ""
    return top_folder((path, isinstance(node, Directory)) for path, node in tree.nodes.items())


def find_counterpart(bundle: Bundle, image: Image, name: str, where: str) -> str:
    """The file of a pack that a lone ELF file is to be compared with.

    Args:
        bundle: the pack.
        image: what was read from the file.
        name: its own name.
        where: the pack's name, for messages.

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
    return libraries[0] if len(libraries) == 1 else find_object(bundle, name, where)
