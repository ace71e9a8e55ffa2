"""What a process sees of file systems: a pack laid over a host, links followed as chroot would.

Everything is read when it is asked for, and remembered: a host has a hundred thousand files, and a
process touches a hundred.
"""

from __future__ import annotations

import os
import posixpath
import stat
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import Struct, field

from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.target import find_foreign_abi
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import Content, PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import MAX_SYMLINKS, File, Symlink, Tree, Unresolved

UNKNOWN_PLACE = "/\0"
"""Where a pack is when nobody knows where it is unpacked: at a place that no path can name."""
UNREADABLE = "it cannot be read"
"""What is said of a file that may be there, but not for the user who looks."""
MAX_PATH = 4096
"""Bytes of the longest path that the kernel walks (PATH_MAX)."""
MAX_REMEMBERED = 64
"""Parts of a path up to which every folder on the way is remembered."""
MAX_NAMES = 200_000
"""Names of one folder that are listed."""


class FileKind(Enum):
    """What is at a path, a link not followed."""

    DIRECTORY = "a folder"
    FILE = "a file"
    SPECIAL = "a device, fifo or socket"
    MISSING = "nothing"
    UNKNOWN = "what nobody knows"


class FileStatus(NamedTuple):
    """What is at one path: its kind, the text of a link, and who it is whatever its name."""

    kind: FileKind
    symlink_target: str | None = None
    identity: object = None


class HostFiles(Protocol):
    """A host's files, by absolute paths from its own root."""

    def get_status(self, path: str) -> FileStatus:
        """What is at ``path``, of which no folder is a link; a link is not followed."""

    def find_content(self, path: str) -> Content | None:
        """The bytes of the regular file at ``path``, or None where they cannot be read."""

    def list_names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none where there is no such folder."""


class DirectoryFiles(Struct, frozen=True):
    """A root file system in a folder; ``/`` is this machine's own."""

    root: Path

    def _on_disk(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))  # noqa: PTH118 (hot, and any bytes)

    def get_status(self, path: str) -> FileStatus:
        """See `HostFiles`."""
        place = self._on_disk(path)
        try:
            status = os.lstat(place)
            if stat.S_ISLNK(status.st_mode):
                return FileStatus(FileKind.FILE, os.readlink(place))  # noqa: PTH115
        except (OSError, ValueError):
            return FileStatus(FileKind.MISSING)
        identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            return FileStatus(FileKind.DIRECTORY, identity=identity)
        return FileStatus(
            FileKind.FILE if stat.S_ISREG(status.st_mode) else FileKind.SPECIAL, identity=identity
        )

    def find_content(self, path: str) -> Content | None:
        """See `HostFiles`."""
        place = Path(self._on_disk(path))
        try:
            return PathContent(place, place.lstat().st_size)
        except OSError:
            return None

    def list_names(self, folder: str) -> list[str]:
        """See `HostFiles`."""
        try:
            return sorted(os.listdir(self._on_disk(folder)))[:MAX_NAMES]  # noqa: PTH208
        except OSError:
            return []


class HidingFiles(Struct, frozen=True):
    """A host's files without some, by absolute paths, as though they were not there."""

    files: HostFiles
    hidden_paths: frozenset[str]

    def get_status(self, path: str) -> FileStatus:
        """See `HostFiles`."""
        return (
            FileStatus(FileKind.MISSING)
            if path in self.hidden_paths
            else self.files.get_status(path)
        )

    def find_content(self, path: str) -> Content | None:
        """See `HostFiles`."""
        return None if path in self.hidden_paths else self.files.find_content(path)

    def list_names(self, folder: str) -> list[str]:
        """See `HostFiles`."""
        names = self.files.list_names(folder)
        return [name for name in names if posixpath.join(folder, name) not in self.hidden_paths]


class TreeFiles(Struct, frozen=True):
    """A root file system in an archive; its contents must be open."""

    tree: Tree

    def get_status(self, path: str) -> FileStatus:
        """See `HostFiles`."""
        return get_tree_status(self.tree, path.strip("/"))

    def find_content(self, path: str) -> Content | None:
        """See `HostFiles`."""
        node = self.tree.nodes.get(path.strip("/"))
        return node.content if isinstance(node, File) else None

    def list_names(self, folder: str) -> list[str]:
        """See `HostFiles`."""
        inside = folder.strip("/")
        known = [*self.tree.nodes, *self.tree.directories]
        return sorted(
            {posixpath.basename(p) for p in known if p and posixpath.dirname(p) == inside}
        )


def get_tree_status(tree: Tree, path: str) -> FileStatus:
    """What is at ``path`` of a tree, a link not followed."""
    node = tree.nodes.get(path)
    if isinstance(node, Symlink):
        return FileStatus(FileKind.FILE, node.target)
    if isinstance(node, File):
        # Hard links are one file: they are known by the member that they share their bytes with.
        return FileStatus(FileKind.FILE, identity=(id(tree), node.hardlink or path))
    if path in tree.directories:
        return FileStatus(FileKind.DIRECTORY, identity=(id(tree), path))
    return FileStatus(FileKind.MISSING if node is None else FileKind.SPECIAL)


class View(Struct, frozen=True, eq=False):
    """A pack at its place on a host, as a process there sees both.

    ``pack_path`` is the absolute path of the pack, `UNKNOWN_PLACE` when it is not known; ``host`` are the
    host's files, None where nothing is known of them. A path of the pack hides the host's.
    """

    bundle: Bundle
    pack_path: str = UNKNOWN_PLACE
    host: HostFiles | None = None
    _known: dict[str, str | Unresolved] = field(default_factory=dict)
    _images: dict[str, Image | str] = field(default_factory=dict)

    def get_relative_path(self, path: str) -> str | None:
        """``path`` relative to the pack, or None where it is not below the pack's place."""
        if path == self.pack_path:
            return ""
        start = "/" if self.pack_path == "/" else self.pack_path + "/"
        return path[len(start) :] if path.startswith(start) else None

    def get_absolute_path(self, path: str) -> str:
        """The absolute path of a path of the pack."""
        return posixpath.join(self.pack_path, path) if path else self.pack_path

    def format_path(self, path: str) -> str:
        """A path as a reader knows it: of the pack where it is in its folder, else absolute."""
        inside = self.get_relative_path(path)
        return path.replace("\0", "") if inside is None else inside

    def find_member(self, path: str) -> str | None:
        """The path in the pack of the real file at ``path``; None where it is the host's."""
        inside = self.get_relative_path(path)
        known = self.bundle.tree
        return inside if inside in known.nodes or inside in known.directories else None

    def get_status(self, path: str) -> FileStatus:
        """What is at ``path``, of which no folder is a link; a link is not followed."""
        inside = self.get_relative_path(path)
        if inside is not None:
            found = get_tree_status(self.bundle.tree, inside)
            if found.kind is not FileKind.MISSING or self.host is None:
                return found
        if self.host is None:
            return FileStatus(FileKind.UNKNOWN)
        found = self.host.get_status(path)
        if found.kind is FileKind.MISSING and self.pack_path.startswith(path.rstrip("/") + "/"):
            return FileStatus(FileKind.DIRECTORY)
        return found

    def resolve_path(self, path: str) -> str | Unresolved:
        """Where an absolute path ends: links followed, ``..`` taken from the target.

        Returns:
            A path without links, or why there is none; ``Lost.OUTSIDE`` is where nothing is known.
        """
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._resolve_uncached(path)
        return known

    def _resolve_uncached(self, path: str) -> str | Unresolved:
        if len(path) > MAX_PATH:
            return Unresolved.MISSING
        folder, _, last = path.rpartition("/")
        if not folder or last in ("", ".", "..") or path.count("/") > MAX_REMEMBERED:
            return self._follow([], path.split("/")[::-1])
        parent = self.resolve_path(folder)
        if isinstance(parent, Unresolved):
            return parent
        return self._follow(parent.strip("/").split("/") if parent != "/" else [], [last])

    def _follow(self, here: list[str], todo: list[str]) -> str | Unresolved:
        """Walk the parts in ``todo``, the next one last, from the folder ``here``."""
        followed = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if here == ["\0"]:
                    return Unresolved.OUTSIDE
                del here[-1:]
                continue
            here.append(part)
            found = self.get_status("/" + "/".join(here))
            if found.symlink_target is not None:
                followed += 1
                if followed > MAX_SYMLINKS:
                    return Unresolved.LOOP
                here = [] if found.symlink_target.startswith("/") else here[:-1]
                # An empty link leads nowhere, not to its own folder (path_resolution(7)).
                todo.extend(
                    reversed(found.symlink_target.split("/")) if found.symlink_target else ["\0"]
                )
            elif found.kind is FileKind.UNKNOWN:
                return Unresolved.OUTSIDE
            elif found.kind is FileKind.MISSING or (todo and found.kind is not FileKind.DIRECTORY):
                return Unresolved.MISSING
        return "/" + "/".join(here)

    def resolve_directory(self, path: str) -> str | Unresolved:
        """Where the folder at ``path`` really is, or why there is none."""
        real = self.resolve_path(path)
        if isinstance(real, str) and self.get_status(real).kind is not FileKind.DIRECTORY:
            return Unresolved.MISSING
        return real

    def find_image(self, real: str) -> Image | str:
        """The image of the file at a path without links, or why there is none."""
        inside = self.find_member(real)
        image = None if inside is None else self.bundle.images.get(inside)
        if image is not None:
            return image
        known: Image | str | None = self._images.get(real)
        if known is None:
            known = self._images[real] = self._read_image(real)
        return known

    def _read_image(self, real: str) -> Image | str:
        kind = self.get_status(real).kind
        if kind is not FileKind.FILE:
            return str(kind.value)
        content = self.find_content(real)
        if content is None:
            return UNREADABLE
        try:
            with content.open() as reader:
                if not is_elf(reader):
                    return "not an ELF file"
                image = read_image(reader)
                system = find_foreign_abi(image)
                return image if system is None else f"for {system}"
        except DamagedElfError as error:
            return f"the ELF file is damaged: {error.message}"
        except BundleFixError:
            return UNREADABLE

    def find_content(self, real: str) -> Content | None:
        """The bytes of the file at a path without links."""
        inside = self.find_member(real)
        if inside is not None:
            node = self.bundle.tree.nodes.get(inside)
            return node.content if isinstance(node, File) else None
        return self.host.find_content(real) if self.host is not None else None

    def read_bytes(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """The first ``limit`` bytes of the file at ``path``, links followed, or None."""
        real = self.resolve_path(path)
        content = None if isinstance(real, Unresolved) else self.find_content(real)
        if (
            isinstance(real, Unresolved)
            or content is None
            or self.get_status(real).kind is not FileKind.FILE
        ):
            return None
        try:
            with content.open() as reader:
                return reader.pread(0, limit)
        except BundleFixError:
            return None
