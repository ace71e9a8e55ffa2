"""The files of a host: a directory of this machine or the tree of an archive."""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from bundle_fix.model.content import Content, PathContent
from bundle_fix.model.errors import raise_if_exhausted
from bundle_fix.model.symlinks import FileKind, FileStatus
from bundle_fix.model.tree import File, Tree, get_tree_status

MAX_NAMES = 200_000
"""Limit of the names of one directory."""


class HostFiles(Protocol):
    """A host's files, by absolute paths from its own root."""

    def get_status(self, path: str) -> FileStatus:
        """Return the status of ``path`` as lstat(2) does; its directories are no symlinks."""

    def find_content(self, path: str) -> Content | None:
        """Return the bytes of the regular file at ``path``, or None if they cannot be read."""

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none if there is no such directory."""


class DirectoryFiles(Struct, frozen=True):
    """A root file system in a directory; ``/`` is this machine's own."""

    root: Path

    def _build_path(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))  # noqa: PTH118 (hot, and any bytes)

    def get_status(self, path: str) -> FileStatus:
        """See `HostFiles`."""
        place = self._build_path(path)
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

    def find_content(self, path: str) -> PathContent | None:
        """See `HostFiles`."""
        place = Path(self._build_path(path))
        try:
            return PathContent(place, place.lstat().st_size)
        except OSError:
            return None

    def list_names(self, directory: str) -> list[str]:
        """See `HostFiles`."""
        try:
            return sorted(os.listdir(self._build_path(directory)))[:MAX_NAMES]  # noqa: PTH208
        except OSError as error:
            raise_if_exhausted(error)
            return []


MACHINE = DirectoryFiles(Path("/"))
"""This machine's own files."""


class LayeredFiles(Struct, frozen=True):
    """Root file systems that are searched in order: the first one with a path provides it."""

    layers: tuple[DirectoryFiles, ...]

    def _find_layer(self, path: str) -> DirectoryFiles:
        for layer in self.layers:
            if layer.get_status(path).kind is not FileKind.MISSING:
                return layer
        return self.layers[-1]

    def get_status(self, path: str) -> FileStatus:
        """See `HostFiles`."""
        return self._find_layer(path).get_status(path)

    def find_content(self, path: str) -> PathContent | None:
        """See `HostFiles`."""
        return self._find_layer(path).find_content(path)

    def list_names(self, directory: str) -> list[str]:
        """See `HostFiles`."""
        return sorted({name for layer in self.layers for name in layer.list_names(directory)})


class HidingFiles(Struct, frozen=True):
    """The files of a host without those at ``hidden_paths``, which are absolute."""

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

    def list_names(self, directory: str) -> list[str]:
        """See `HostFiles`."""
        names = self.files.list_names(directory)
        return [name for name in names if posixpath.join(directory, name) not in self.hidden_paths]


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

    def list_names(self, directory: str) -> list[str]:
        """See `HostFiles`."""
        inside = directory.strip("/")
        known = [*self.tree.nodes, *self.tree.directories]
        return sorted(
            {posixpath.basename(p) for p in known if p and posixpath.dirname(p) == inside}
        )
