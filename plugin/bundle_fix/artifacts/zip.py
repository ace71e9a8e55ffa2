"""Zip archives: read into a tree whose files lie in a temporary file, and written from one.

The format is PKWARE's APPNOTE.TXT; links are stored as Info-ZIP stores them, by their mode.
"""

from __future__ import annotations

import calendar
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundle_fix.artifacts.limits import DEFAULT_LIMITS, Limits
from bundle_fix.artifacts.names import check_folders, clean_name, top_folder, tree_path
from bundle_fix.artifacts.wheel import INFO
from bundle_fix.content import CHUNK, BytesReader, Reader, SliceContent, chunks
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree

ENCRYPTED = 0x1
UTF8 = 0x800
UNIX = 3
LOCAL_HEADER = 30
"""Bytes of a local file header without its name (APPNOTE 4.3.7)."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip archive can hold."""
LAST = (2107, 12, 31, 23, 59, 58)
ZIP64_SIZE = 1 << 31
MAX_TARGET = 4096
"""Bytes of the longest text of a link (PATH_MAX)."""


@dataclass(frozen=True, slots=True)
class ZipHeader:
    """What an archive says of a member besides its bytes, and the archive's own comment."""

    info: zipfile.ZipInfo
    comment: bytes

    @property
    def size(self) -> int:
        """Number of bytes of the local header."""
        return len(self.info.FileHeader())

    @contextmanager
    def open(self) -> Iterator[Reader]:
        """Open the local header."""
        yield BytesReader(self.info.FileHeader())


@contextmanager
def read_zip(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Tree]:
    """The tree in the zip archive at ``path``; its contents can be read while the context is open.

    Raises:
        BundleFixError: it is damaged, cut short or encrypted, unpacks to more than ``limits``
            allow, or a member's name is one that no honest archive has.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            infos = archive.infolist()
            _check(infos, path, limits)
            spool = stack.enter_context(tempfile.TemporaryFile(prefix="bundle-fix-"))
            tree = _tree(archive, infos, spool, path)
            spool.flush()
        except BundleFixError:
            raise
        except OSError as error:
            raise BundleFixError(
                f"cannot unpack it: {error.strerror or error}", where=str(path),
                hint="TMPDIR names another folder",
            ) from error  # fmt: skip
        except Exception as error:
            # Lying headers make zipfile raise what it likes: BadZipFile, zlib.error, struct.error.
            raise BundleFixError(
                f"the archive is damaged: {error}", where=str(path),
                hint="copy or download it again",
            ) from error  # fmt: skip
        yield tree


def _check(infos: list[zipfile.ZipInfo], path: Path, limits: Limits) -> None:
    limits.check_members(len(infos), path)
    limits.check_size(sum(info.file_size for info in infos), path.stat().st_size, path)
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.flag_bits & ENCRYPTED:
            raise BundleFixError(
                f"the member {info.filename!r} is encrypted", where=str(path),
                hint="make the archive without a password",
            )  # fmt: skip
        if info.header_offset < end:
            raise BundleFixError(
                f"the member {info.filename!r} shares its bytes with the one before it",
                where=str(path), hint="an archive like this one must not be trusted",
            )  # fmt: skip
        end = info.header_offset + LOCAL_HEADER + info.compress_size


def _tree(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], spool: IO[bytes], path: Path
) -> Tree:
    names = [clean_name(_filename(info), path) for info in infos]
    top = top_folder((name, i.is_dir()) for name, i in zip(names, infos, strict=True))
    if top.endswith(INFO):
        top = ""
    nodes: dict[str, Node] = {}
    for name, info in zip(names, infos, strict=True):
        key = tree_path(name, top)
        if key in nodes:
            raise BundleFixError(f"two members have the name {name!r}", where=str(path))
        if not (key or info.is_dir()):
            raise BundleFixError("a member has no name", where=str(path))
        nodes[key] = _node(archive, info, spool, path)
    tree = Tree(nodes, top)
    check_folders(tree, path)
    return tree


def _filename(info: zipfile.ZipInfo) -> str:
    """A member's name: UTF-8 where it can be, as most tools write it without saying so."""
    if info.flag_bits & UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _node(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spool: IO[bytes], path: Path) -> Node:
    stamp, header = _stamp(info), ZipHeader(info, archive.comment)
    if info.is_dir():
        return Directory(stamp, header)
    start = spool.tell()
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == UNIX else 0
    if kind == stat.S_IFLNK:
        if info.file_size > MAX_TARGET:
            raise BundleFixError(f"the link {info.filename!r} is too long", where=str(path))
        return Symlink(archive.read(info).decode("utf-8", "surrogateescape"), stamp, header)
    if kind not in (0, stat.S_IFREG):
        return Special("device, fifo or socket", stamp, header)
    left = info.file_size
    with archive.open(info) as stream:
        while piece := stream.read(CHUNK):
            left -= len(piece)
            spool.write(piece)
    if left:
        raise zipfile.BadZipFile(f"the size of {info.filename!r} is not what it says")
    return File(SliceContent(spool.fileno(), start, info.file_size), stamp, header)


def _stamp(info: zipfile.ZipInfo) -> Stamp:
    mode = stat.S_IMODE(info.external_attr >> 16) if info.create_system == UNIX else 0
    mtime = calendar.timegm((*info.date_time, 0, 0, 0))
    return Stamp(mode or (0o755 if info.is_dir() else 0o644), mtime=mtime)


def write_zip(tree: Tree, file: IO[bytes]) -> None:
    """Write ``tree`` as a zip archive; what it can hold of unchanged members stays as it was.

    Args:
        tree: what to write; its contents must still be open. Hard links become copies.
        file: where to.

    Raises:
        BundleFixError: a member is of a kind that zip archives cannot hold.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, node in tree.nodes.items():
            info = _info(tree, path, node)
            if isinstance(node.header, ZipHeader):
                archive.comment = node.header.comment
            if isinstance(node, File):
                with node.content.open() as reader, archive.open(
                    info, "w", force_zip64=node.content.size >= ZIP64_SIZE
                ) as stream:  # fmt: skip
                    for piece in chunks(reader, path):
                        stream.write(piece)
            elif isinstance(node, Symlink):
                archive.writestr(info, node.target.encode("utf-8", "surrogateescape"))
            elif isinstance(node, Directory):
                archive.writestr(info, b"")
            else:
                raise BundleFixError(f"a zip archive cannot hold a {node.kind}", where=path)


def _info(tree: Tree, path: str, node: Node) -> zipfile.ZipInfo:
    """What the archive says of a member: as it was read, or made from its stamp."""
    name = "/".join(part for part in (tree.top, path) if part)
    info = zipfile.ZipInfo(name + "/" * isinstance(node, Directory), _date(node.stamp.mtime))
    if isinstance(node.header, ZipHeader):
        old = node.header.info
        info.date_time, info.comment = old.date_time, old.comment
        info.compress_type, info.create_system = old.compress_type, old.create_system
        info.external_attr, info.internal_attr = old.external_attr, old.internal_attr
        info.extra = _without_zip64(old.extra)
        return info
    kind = {Directory: stat.S_IFDIR, Symlink: stat.S_IFLNK}.get(type(node), stat.S_IFREG)
    info.create_system = UNIX
    info.external_attr = (kind | node.stamp.mode) << 16 | (0x10 if kind == stat.S_IFDIR else 0)
    info.compress_type = zipfile.ZIP_DEFLATED if isinstance(node, File) else zipfile.ZIP_STORED
    return info


def _date(mtime: float) -> tuple[int, int, int, int, int, int]:
    date = time.gmtime(min(max(mtime, 0), 1 << 33))[:6]
    return min(max(date, EPOCH), LAST)


def _without_zip64(extra: bytes) -> bytes:
    """A member's extra fields (APPNOTE 4.5) without the one that says its old size."""
    kept = b""
    while len(extra) >= 4:
        end = 4 + int.from_bytes(extra[2:4], "little")
        if extra[:2] != b"\1\0":
            kept += extra[:end]
        extra = extra[end:]
    return kept
