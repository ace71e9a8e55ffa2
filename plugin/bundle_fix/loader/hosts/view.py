"""The files that a process sees: a pack at its place on a host.

Symlinks are resolved inside the host's root, as after chroot(2). Files are read on demand and
cached: a host has 100,000 files, of which a process touches about a hundred.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct, field

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.read.target import find_foreign_abi
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.files import HostFiles
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError, DamagedElfError
from bundle_fix.model.symlinks import FileKind, FileStatus, Unresolved, follow_symlinks
from bundle_fix.model.tree import File, get_tree_status

UNKNOWN_PLACE = "/\0"
"""The place of a pack whose place is unknown: a path that no file can name, as it contains NUL."""
FILE_KIND_TEXTS: Mapping[FileKind, str] = {
    FileKind.DIRECTORY: "a directory",
    FileKind.FILE: "a file",
    FileKind.SPECIAL: "a device, fifo or socket",
    FileKind.MISSING: "missing",
    FileKind.UNKNOWN: "unknown",
}
MAX_PATH = 4096
"""Bytes of the longest path that the kernel resolves (PATH_MAX)."""
MAX_CACHED_PARTS = 64
"""Number of parts of a path up to which each directory on the way is cached."""


class NoImage(NamedTuple):
    """The reason why a path has no image, as text.

    ``is_unreadable`` if the user may not read the file: the loader of another user may load it.
    """

    reason: str
    is_unreadable: bool = False


UNREADABLE = NoImage("it cannot be read", is_unreadable=True)


class View(Struct, frozen=True, eq=False):
    """The files of a pack and of a host, by the absolute paths of a process.

    ``pack_path`` is the path of the pack on the host, or `UNKNOWN_PLACE`. ``host`` are the host's
    files; None if they are unknown. A file of the pack hides the host's file of the same path.
    """

    bundle: Bundle
    pack_path: str = UNKNOWN_PLACE
    host: HostFiles | None = None
    _resolved: dict[str, str | Unresolved] = field(default_factory=dict)
    _images: dict[str, Image | NoImage] = field(default_factory=dict)

    def get_relative_path(self, path: str) -> str | None:
        """Return ``path`` relative to the pack, or None if it is outside the pack's directory."""
        if path == self.pack_path:
            return ""
        start = "/" if self.pack_path == "/" else self.pack_path + "/"
        return path[len(start) :] if path.startswith(start) else None

    def get_absolute_path(self, path: str) -> str:
        """Return the absolute path of a path that is relative to the pack."""
        return posixpath.join(self.pack_path, path) if path else self.pack_path

    def format_path(self, path: str) -> str:
        """Return ``path`` for messages: relative to the pack if it is inside, else absolute."""
        relative = self.get_relative_path(path)
        return path.replace("\0", "") if relative is None else relative

    def find_member(self, path: str) -> str | None:
        """Return the path in the pack of the resolved ``path``, or None if the pack lacks it."""
        relative = self.get_relative_path(path)
        tree = self.bundle.tree
        return relative if relative in tree.nodes or relative in tree.directories else None

    def get_status(self, path: str) -> FileStatus:
        """Return the status of ``path`` as lstat(2) does; its directories are no symlinks."""
        relative = self.get_relative_path(path)
        if relative is not None:
            found = get_tree_status(self.bundle.tree, relative)
            if found.kind is not FileKind.MISSING or self.host is None:
                return found
        if self.host is None:
            return FileStatus(FileKind.UNKNOWN)
        found = self.host.get_status(path)
        # The directories above the pack exist once the pack is unpacked.
        if found.kind is FileKind.MISSING and self.pack_path.startswith(path.rstrip("/") + "/"):
            return FileStatus(FileKind.DIRECTORY)
        return found

    def resolve_path(self, path: str) -> str | Unresolved:
        """Resolve an absolute path: follow symlinks, apply ``..`` to their targets.

        Returns:
            A path without symlinks, or why there is none: `Unresolved.OUTSIDE` if it leads to a
            host whose files are unknown.
        """
        known = self._resolved.get(path)
        if known is None:
            known = self._resolved[path] = self._resolve_uncached(path)
        return known

    def _resolve_uncached(self, path: str) -> str | Unresolved:
        if len(path) > MAX_PATH:
            return Unresolved.MISSING
        directory, _, last = path.rpartition("/")
        if not directory or last in ("", ".", "..") or path.count("/") > MAX_CACHED_PARTS:
            return self._follow_symlinks(path)
        parent = self.resolve_path(directory)
        if isinstance(parent, Unresolved):
            return parent
        return self._follow_symlinks(last, parent)

    def _follow_symlinks(self, path: str, start: str = "/") -> str | Unresolved:
        return follow_symlinks(path, self.get_status, start, top=UNKNOWN_PLACE)

    def resolve_directory(self, path: str) -> str | Unresolved:
        """Resolve the path of a directory; anything else is `Unresolved.MISSING`."""
        real = self.resolve_path(path)
        if isinstance(real, str) and self.get_status(real).kind is not FileKind.DIRECTORY:
            return Unresolved.MISSING
        return real

    def has_host_directory(self, path: str) -> bool:
        """Return whether a directory exists, if the files of the host are known."""
        return self.host is not None and isinstance(self.resolve_directory(path), str)

    def find_image(self, real: str) -> Image | NoImage:
        """Return the image of the file at the resolved path ``real``, or why there is none."""
        member = self.find_member(real)
        image = None if member is None else self.bundle.images.get(member)
        if image is not None:
            return image
        known = self._images.get(real)
        if known is None:
            known = self._images[real] = self._read_image(real)
        return known

    def _read_image(self, real: str) -> Image | NoImage:
        kind = self.get_status(real).kind
        if kind is not FileKind.FILE:
            return NoImage(FILE_KIND_TEXTS[kind])
        content = self.find_content(real)
        if content is None:
            return UNREADABLE
        try:
            with content.open() as reader:
                if not is_elf(reader):
                    return NoImage("not an ELF file")
                image = read_image(reader)
                system = find_foreign_abi(image)
                return image if system is None else NoImage(f"for {system}")
        except DamagedElfError as error:
            return NoImage(f"the ELF file is damaged: {error.message}")
        except BundleFixError:
            return UNREADABLE

    def find_content(self, real: str) -> Content | None:
        """Return the bytes of the file at the resolved path ``real``, or None."""
        member = self.find_member(real)
        if member is not None:
            node = self.bundle.tree.nodes.get(member)
            return node.content if isinstance(node, File) else None
        return self.host.find_content(real) if self.host is not None else None

    def read_bytes(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """Return the first ``limit`` bytes of the regular file at ``path``, or None."""
        real = self.resolve_path(path)
        if isinstance(real, Unresolved) or self.get_status(real).kind is not FileKind.FILE:
            return None
        content = self.find_content(real)
        if content is None:
            return None
        try:
            with content.open() as reader:
                return reader.pread(0, limit)
        except BundleFixError:
            return None
