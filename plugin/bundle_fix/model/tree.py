"""An artifact's content in memory: paths to files, links and folders.

Paths are relative to the root of the pack, with ``/`` between their parts, without ``.`` or ``..``;
the root itself is the empty path. Names that are not UTF-8 hold surrogate escapes, as
`os.fsdecode` makes them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from bundle_fix.model.content import ArchiveSlice, Content
from bundle_fix.model.errors import BundleFixError

MAX_LINKS = 40
"""Links followed before a path counts as a loop: the kernel's own limit (path_resolution(7))."""
MAX_DIRECTORY_TEXT = 128 << 20
"""Characters of the paths of all folders that are no members: a name of a few kilobytes may have a
thousand of them."""
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


class Metadata(Struct, frozen=True):
    """Who owns a member, what may be done with it, and when it was changed."""

    mode: int
    """Permission bits with set-uid, set-gid and sticky, as in chmod(2)."""
    uid: int = 0
    gid: int = 0
    owner: str = ""
    group: str = ""
    mtime: float = 0
    """Seconds since the epoch."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """What else is known of the member, name to value, as pax has it: extended attributes under
    ``SCHILY.xattr.``, and under ``mtime`` the digits that a float cannot hold."""

    @property
    def mtime_text(self) -> str | None:
        """`mtime` with all its digits, where ``extra`` has them."""
        told = self.extra.get("mtime", "")
        return told if _DECIMAL.fullmatch(told) and float(told) == self.mtime else None


class File(Struct, frozen=True):
    """A regular file. ``hardlink`` is the path of the member whose bytes it shares by hard link."""

    content: Content
    metadata: Metadata
    header: Content | None = None
    """The member's header as it stands in the archive it was read from; valid while the member's
    name, size and stamp are what they were."""
    hardlink: str | None = None
    preceding: Content | None = None
    """What stands before the member in its archive and is of no member of the tree: a global pax
    header, a folder's entry that a later one takes the place of."""


class Symlink(Struct, frozen=True):
    """A symbolic link and the text it holds."""

    target: str
    metadata: Metadata
    header: Content | None = None
    preceding: Content | None = None


class Directory(Struct, frozen=True):
    """A folder."""

    metadata: Metadata
    header: Content | None = None
    preceding: Content | None = None


class Special(Struct, frozen=True):
    """A device, a fifo or a socket: kept as it is, never opened."""

    kind: str
    metadata: Metadata
    header: Content | None = None
    preceding: Content | None = None


Node = File | Symlink | Directory | Special


REPEATED = "repeated"


class InstallLocation(Enum):
    """Where what is in an artifact lies on a target."""

    ANYWHERE = "in a folder of its own"
    BESIDE_OTHERS = "at the root, beside other packages"
    ROOT = "at the root: it is the whole file system"


class ArchiveAnomaly(Struct, frozen=True):
    """What is amiss with an archive itself rather than with what it holds.

    Attributes:
        kind: what; `REPEATED` is an entry that a later one of its name takes the place of.
        path: the member that it is about.
        node: the entry.
    """

    kind: str
    path: str
    node: Node

    def relative_to(self, top: str) -> ArchiveAnomaly:
        """The same, its path as seen from the folder ``top`` of the archive."""
        return replace(self, path=self.path[len(top) + 1 :]) if top else self


class Tree(Struct, frozen=True):
    """All members by path, in the artifact's order.

    ``top`` is the folder that holds everything in an archive (``pegasus-server-2.5.0``), left out
    of the paths; it is empty where there is no such folder. ``directories`` are all folders, also those
    that are no members of their own: archives often list the files alone. ``trailer`` is what follows
    the last member in a tarball, ``anomalies`` what its reader saw and no member tells, and
    ``location`` where it goes on a target.
    """

    nodes: Mapping[str, Node]
    top: str = ""
    trailer: ArchiveSlice | None = None
    anomalies: tuple[ArchiveAnomaly, ...] = ()
    location: InstallLocation = InstallLocation.ANYWHERE
    directories: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        found = {path for path, node in self.nodes.items() if isinstance(node, Directory)} | {""}
        room = MAX_DIRECTORY_TEXT
        for path in self.nodes:
            parent = posixpath.dirname(path)
            while parent not in found:
                found.add(parent)
                room -= len(parent)
                parent = posixpath.dirname(parent)
            if room < 0:
                raise BundleFixError(
                    "its folders are nested deeper than any honest ones",
                    hint="an archive like this one must not be trusted",
                )
        force_setattr(self, "directories", frozenset(found))

    def iter_files(self) -> Iterator[tuple[str, File]]:
        """The regular files, in order."""
        return ((path, node) for path, node in self.nodes.items() if isinstance(node, File))

    def iter_symlinks(self) -> Iterator[tuple[str, Symlink]]:
        """The symbolic links, in order."""
        return ((path, node) for path, node in self.nodes.items() if isinstance(node, Symlink))


def break_missing_hardlink(tree: Tree, node: File) -> File:
    """``node``, a file of its own where the member whose bytes it shares is no file any more."""
    if node.hardlink is None or isinstance(tree.nodes.get(node.hardlink), File):
        return node
    return replace(node, hardlink=None, header=None)


class Unresolved(Enum):
    """Why a path leads to nothing."""

    MISSING = "leads to nothing in the pack"
    OUTSIDE = "leads out of the pack"
    LOOP = "is a loop of links"


def resolve_path(tree: Tree, path: str) -> str | Unresolved:
    """Where ``path`` ends when the kernel walks it: links followed, ``..`` taken from the target.

    Args:
        tree: the pack.
        path: relative to the pack's root; may hold ``..``.

    Returns:
        The path of a node that is not a link (or the empty path, the root), or why there is none.
    """
    # The folders on the way, each by its whole path.
    here: list[str] = []
    todo = path.split("/")[::-1]
    followed = 0
    at_root = tree.location is not InstallLocation.ANYWHERE
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here and not at_root:
                return Unresolved.OUTSIDE
            del here[-1:]
            continue
        place = f"{here[-1]}/{part}" if here else part
        node = tree.nodes.get(place)
        if isinstance(node, Symlink):
            followed += 1
            if followed > MAX_LINKS:
                return Unresolved.LOOP
            if node.target.startswith("/") and not at_root:
                return Unresolved.OUTSIDE
            if not node.target:
                return Unresolved.MISSING
            here = [] if node.target.startswith("/") else here
            todo.extend(reversed(node.target.split("/")))
            continue
        if place not in tree.directories and (todo or node is None):
            return Unresolved.MISSING
        here.append(place)
    return here[-1] if here else ""


def get_relative_path(path: str, start: str) -> str:
    """``path`` as seen from the folder ``start``, both relative to the pack's root."""
    return posixpath.relpath("/" + path, "/" + start)


def drop_headers(tree: Tree) -> Tree:
    """``tree`` without the headers that only archives of the format it was read from can hold."""
    nodes = {path: replace(node, header=None, preceding=None) for path, node in tree.nodes.items()}
    return replace(tree, nodes=nodes, trailer=None)
