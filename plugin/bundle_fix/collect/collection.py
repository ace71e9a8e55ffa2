"""The pack while it is collected: its members, the images of its ELF files, where each is from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.collect.libraries.packages import Package
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_of
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.model.content import has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree

FOLDER_MODE = 0o755


class Origin(Struct, frozen=True):
    """Where a member of the pack comes from: a file of this machine, and the spec's entry.

    ``source`` is None for literal text; ``asked`` is ``path:line:column`` in the spec, or for what
    the closure added, the object that needs it. ``found`` is where a library was found, which may
    be a link to ``source``: its folder is what ``$ORIGIN`` means in it.
    """

    source: Path | None
    asked: str
    from_closure: bool = False
    found: Path | None = None


class Collected(Struct, frozen=True):
    """The pack as collected, before anything in it is edited.

    ``remarks`` are lines on the spec, such as on a pattern that nothing matches; ``packages`` are
    the installed packages that own what comes from outside the root.
    """

    bundle: Bundle
    origins: Mapping[str, Origin]
    pinned: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    packages: Mapping[Path, Package] = field(default_factory=dict)


class Collection(Struct):
    """The pack while it grows."""

    root: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def add(self, path: str, node: Node, origin: Origin) -> None:
        """Put a member into the pack.

        Raises:
            BundleFixError: something else has the path already.
        """
        path = posixpath.normpath(path)
        known = self.nodes.get(path)
        if known is not None and not _agree(known, node):
            raise BundleFixError(
                f"two different files would land at {path}: {self.origins[path].source or 'text'}"
                f" (asked for at {self.origins[path].asked}) and {origin.source or 'text'}",
                where=origin.asked,
                hint="give one of them another name with `to`",
            )
        self.nodes.setdefault(path, node)
        self.origins.setdefault(path, origin)
        if isinstance(node, File) and path not in self.images:
            source = origin.source
            image = None if source is None else read_image_of(node.content, str(source))
            if image is not None:
                self.images[path] = image

    def bundle(self, top: str, epoch: int) -> Bundle:
        """The bundle, dated at ``epoch``, sorted by path: folders before what they hold.

        Raises:
            BundleFixError: a member would land below one that is no folder.
        """
        folders = Tree(self.nodes).directories
        for above in sorted(folders & set(self.nodes)):
            path = next(path for path in self.nodes if path.startswith(f"{above}/"))
            raise BundleFixError(
                f"{path} would land below {above}, which is a file"
                f" (asked for at {self.origins[above].asked})",
                where=self.origins[path].asked,
                hint="give one of them another name with `to`",
            )
        nodes: dict[str, Node] = {path: Directory(Metadata(FOLDER_MODE)) for path in folders}
        nodes |= self.nodes
        ordered = {path: _dated(nodes[path], epoch) for path in sorted(nodes)}
        return make_bundle(Tree(ordered, top), self.images)


def _agree(one: Node, other: Node) -> bool:
    if isinstance(one, File) and isinstance(other, File):
        return has_same_bytes(one.content, other.content)
    if isinstance(one, Symlink) and isinstance(other, Symlink):
        return one.target == other.target
    return False


def _dated(node: Node, epoch: int) -> Node:
    return replace(node, metadata=replace(node.metadata, mtime=epoch))
