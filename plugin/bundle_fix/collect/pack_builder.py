"""The pack while it is collected: its members, the images of its ELF files, their origins."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.collect.libraries.packages import Package
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_of
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree
from bundle_fix.spec.epoch import DEFAULT_EPOCH

DIRECTORY_MODE = 0o755


class Origin(Struct, frozen=True):
    """Origin of a member of the pack.

    Attributes:
        source: the file on this machine; None for literal text.
        requested_by: ``path:line:column`` in the spec; for a library that the closure added, the
            object that needs it.
        from_closure: whether the closure added it.
        found: the path at which a library was found; it may be a symlink to ``source``. Its
            directory is the value of ``$ORIGIN`` in the library.
    """

    source: Path | None
    requested_by: str
    from_closure: bool = False
    found: Path | None = None


def date_member(node: Node, origin: Origin, epoch: int | None = None) -> Node:
    """Return an added member, dated ``epoch`` or as its source, but not before 1980.

    The members of a zip archive, and so of a wheel, cannot be older (APPNOTE 4.4.6).
    """
    source = 0.0 if origin.source is None else origin.source.stat().st_mtime
    mtime = max(DEFAULT_EPOCH, source if epoch is None else epoch)
    return replace(node, metadata=replace(node.metadata, mtime=mtime))


class CollectedPack(Struct, frozen=True):
    """The pack as collected, before anything in it is edited.

    ``remarks`` are lines about the spec, such as a library that no object needs. ``packages`` are
    the installed packages that own the files from outside the root.
    """

    bundle: Bundle
    origins: Mapping[str, Origin]
    pinned: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    packages: Mapping[Path, Package] = field(default_factory=dict)


class PackBuilder(Struct):
    """The members of a pack that have been collected so far."""

    root: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def add_member(self, path: str, node: Node, origin: Origin) -> None:
        """Add a member to the pack.

        Raises:
            BundleFixError: a different member has the same path.
        """
        path = posixpath.normpath(path)
        known = self.nodes.get(path)
        if known is not None and not _is_same_member(known, node):
            raise BundleFixError(
                f"two different files have the path {path} in the pack:"
                f" {self.origins[path].source or 'text'} ({self.origins[path].requested_by}) and"
                f" {origin.source or 'text'}",
                where=origin.requested_by,
                hint="change the `to` of one of them",
            )
        self.nodes.setdefault(path, node)
        self.origins.setdefault(path, origin)
        if isinstance(node, File) and path not in self.images:
            source = origin.source
            image = None if source is None else read_image_of(node.content, str(source))
            if image is not None:
                self.images[path] = image

    def build_bundle(self, top: str, epoch: int) -> Bundle:
        """Return the bundle, sorted by path, with every modification time set to ``epoch``.

        Raises:
            BundleFixError: the path of a member is below one that is not a directory.
        """
        directories = Tree(self.nodes).directories
        for above in sorted(directories & set(self.nodes)):
            path = next(path for path in self.nodes if path.startswith(f"{above}/"))
            raise BundleFixError(
                f"{path} would be below {above}, which is a file"
                f" ({self.origins[above].requested_by})",
                where=self.origins[path].requested_by,
                hint="change the `to` of one of them",
            )
        nodes: dict[str, Node] = {path: Directory(Metadata(DIRECTORY_MODE)) for path in directories}
        nodes |= self.nodes
        ordered = {path: _set_mtime(nodes[path], epoch) for path in sorted(nodes)}
        return build_bundle(Tree(ordered, top), self.images)


def _is_same_member(one: Node, other: Node) -> bool:
    if isinstance(one, File) and isinstance(other, File):
        return has_same_bytes(one.content, other.content)
    if isinstance(one, Symlink) and isinstance(other, Symlink):
        return one.target == other.target
    return False


def _set_mtime(node: Node, epoch: int) -> Node:
    return replace(node, metadata=replace(node.metadata, mtime=epoch))
