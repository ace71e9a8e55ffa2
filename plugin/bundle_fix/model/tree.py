"""Tree of an artifact's members in memory: paths to files, symlinks and directories.

Paths are relative to the root of the pack, with ``/`` between their parts, without ``.`` or ``..``;
the root itself is the empty path. Names that are not UTF-8 contain surrogate escapes, as
`os.fsdecode` creates them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from bundle_fix.model.content import ArchiveSlice, Content
from bundle_fix.model.errors import UNTRUSTED, BundleFixError
from bundle_fix.model.symlinks import FileKind, FileStatus, Unresolved, follow_symlinks

MANIFEST_NAME = "bundle-manifest.json"
"""The manifest, a member that bundle-fix itself adds to the root of a pack."""
MAX_DIRECTORY_TEXT = 128 << 20
"""Characters in the paths of all directories that are not members themselves: a member's name of a
few kilobytes may imply a thousand directories."""
ATTRIBUTE_PREFIX = "SCHILY.xattr."
"""The prefix of the pax records of extended attributes (star(5))."""
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


class Metadata(Struct, frozen=True):
    """Permissions, owner, modification time and extended attributes of a member."""

    mode: int
    """Permission bits with set-uid, set-gid and sticky, as in chmod(2)."""
    uid: int = 0
    gid: int = 0
    owner: str = ""
    group: str = ""
    mtime: float = 0
    """Seconds since the epoch."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Other pax records, name to value: those of extended attributes (`ATTRIBUTE_PREFIX`), and
    ``mtime`` with the digits that a float cannot represent."""

    @property
    def mtime_text(self) -> str | None:
        """`mtime` with all its digits, or None if ``extra`` does not have them."""
        text = self.extra.get("mtime", "")
        return text if _DECIMAL.fullmatch(text) and float(text) == self.mtime else None


class File(Struct, frozen=True):
    """A regular file.

    Attributes:
        content: its bytes.
        metadata: its permissions, owner and times.
        header: its header, byte for byte, in the archive it was read from; valid as long as its
            name, size and metadata do not change.
        hardlink: the path of the member that it shares its bytes with as a hard link, or None.
        preceding: bytes before its header that belong to no member of the tree, such as a global
            pax header or a directory entry that a later one replaces.
    """

    content: Content
    metadata: Metadata
    header: Content | None = None
    hardlink: str | None = None
    preceding: Content | None = None


class Symlink(Struct, frozen=True):
    """A symbolic link and its target text; see `File` for the other attributes.

    ``hardlink`` is the path of another symlink of the archive, which the header refers to.
    """

    target: str
    metadata: Metadata
    header: Content | None = None
    hardlink: str | None = None
    preceding: Content | None = None


class Directory(Struct, frozen=True):
    """A directory with an entry of its own; see `File` for ``header`` and ``preceding``."""

    metadata: Metadata
    header: Content | None = None
    preceding: Content | None = None


class Special(Struct, frozen=True):
    """A device, FIFO or socket: preserved, never opened; see `File` for the other fields."""

    kind: str
    metadata: Metadata
    header: Content | None = None
    preceding: Content | None = None


Node = File | Symlink | Directory | Special
LinkableNode = TypeVar("LinkableNode", bound=File | Symlink)
"""A node that may be another name of an earlier one."""


class InstallLocation(Enum):
    """The place on a target that an artifact is unpacked to."""

    ANYWHERE = "anywhere"
    """Any directory: a relocatable pack."""
    BESIDE_OTHERS = "beside_others"
    """The root, which a distribution package shares with other packages."""
    ROOT = "root"
    """The root: the artifact is a whole root file system."""


class DuplicateMember(Struct, frozen=True):
    """An archive entry that a later entry of the same name replaces.

    Attributes:
        path: the name of both.
        node: the earlier entry.
    """

    path: str
    node: Node

    def relative_to(self, top: str) -> DuplicateMember:
        """Return the entry with its path relative to the directory ``top`` of the archive."""
        return replace(self, path=self.path[len(top) + 1 :]) if top else self


class Tree(Struct, frozen=True):
    """All members by path, in the artifact's order.

    Attributes:
        nodes: the members.
        top: the one directory that contains everything in an archive (``pegasus-server-2.5.0``),
            which the paths do not include; empty if there is none.
        trailer: the bytes after the last member of a tarball.
        duplicates: entries of the archive that later entries replace.
        location: the place on a target that it is unpacked to.
        keeps_symlinks: whether symlinks survive when the artifact is installed or unpacked; wheels,
            npm packages and most unpackers of zip archives lose them.
        requires: the packages or sonames that a distribution package depends on.
        directories: all directories, also those without an entry: archives often list only files.
        platforms: the platform tags in the file name of a wheel.
    """

    nodes: Mapping[str, Node]
    top: str = ""
    trailer: ArchiveSlice | None = None
    duplicates: tuple[DuplicateMember, ...] = ()
    location: InstallLocation = InstallLocation.ANYWHERE
    keeps_symlinks: bool = True
    requires: tuple[str, ...] = ()
    directories: frozenset[str] = frozenset()
    platforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        found = {path for path, node in self.nodes.items() if isinstance(node, Directory)} | {""}
        length = 0
        for path in self.nodes:
            parent = posixpath.dirname(path)
            while parent not in found:
                found.add(parent)
                length += len(parent)
                parent = posixpath.dirname(parent)
            if length > MAX_DIRECTORY_TEXT:
                raise BundleFixError(
                    f"its directory names exceed the safety limit ({MAX_DIRECTORY_TEXT >> 20} MiB)",
                    hint=UNTRUSTED,
                )
        force_setattr(self, "directories", frozenset(found))

    def iter_files(self) -> Iterator[tuple[str, File]]:
        """Return an iterator over the regular files, in order."""
        return ((path, node) for path, node in self.nodes.items() if isinstance(node, File))

    def iter_symlinks(self) -> Iterator[tuple[str, Symlink]]:
        """Return an iterator over the symlinks, in order."""
        return ((path, node) for path, node in self.nodes.items() if isinstance(node, Symlink))


def break_missing_hardlink(tree: Tree, node: LinkableNode) -> LinkableNode:
    """Return ``node``, without its hard link if the linked member is no longer the same."""
    if node.hardlink is None:
        return node
    linked = tree.nodes.get(node.hardlink)
    if isinstance(node, Symlink):
        is_same = isinstance(linked, Symlink) and linked.target == node.target
    else:
        is_same = isinstance(linked, File)
    return node if is_same else replace(node, hardlink=None, header=None)


def get_first_hard_link(tree: Tree, path: str) -> str:
    """Return the first path of the file at ``path``, the same for all its hard links.

    An archive stores content, mode and attributes with it.
    """
    node = tree.nodes.get(path)
    return node.hardlink or path if isinstance(node, File) else path


def get_tree_status(tree: Tree, path: str) -> FileStatus:
    """Return the status of ``path`` in a tree; symlinks are not followed."""
    node = tree.nodes.get(path)
    if isinstance(node, Symlink):
        return FileStatus(FileKind.FILE, node.target)
    if isinstance(node, File):
        # Hard links are one file, identified by the member that they share their bytes with.
        return FileStatus(FileKind.FILE, identity=(id(tree), node.hardlink or path))
    if path in tree.directories:
        return FileStatus(FileKind.DIRECTORY, identity=(id(tree), path))
    return FileStatus(FileKind.MISSING if node is None else FileKind.SPECIAL)


def resolve_path(tree: Tree, path: str) -> str | Unresolved:
    """Resolve ``path`` as the kernel does: follow symlinks, apply ``..`` to their targets.

    Args:
        tree: the pack.
        path: relative to the pack's root; may contain ``..``.

    Returns:
        The path of a node that is not a symlink (empty for the root), or the reason against one.
    """
    # At the root of a file system `..` is the root itself.
    top = "/" if tree.location is InstallLocation.ANYWHERE else None
    found = follow_symlinks(path, lambda inner: get_tree_status(tree, inner[1:]), top=top)
    return found if isinstance(found, Unresolved) else found[1:]


def get_relative_path(path: str, start: str) -> str:
    """Return ``path`` relative to the directory ``start``; both are relative to the root."""
    return posixpath.relpath("/" + path, "/" + start)


def drop_headers(tree: Tree) -> Tree:
    """Return ``tree`` without raw headers, which only archives of one format can contain."""
    nodes = {path: replace(node, header=None, preceding=None) for path, node in tree.nodes.items()}
    return replace(tree, nodes=nodes, trailer=None)
