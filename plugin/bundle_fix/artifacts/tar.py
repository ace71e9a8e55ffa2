"""Tarballs: read into a tree whose files are slices of the unpacked stream, and written from one.

The unpacked stream lies in an unnamed temporary file while the artifact is open, so that memory
stays flat and every member, its header included, can be copied as it stands.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from bundle_fix.artifacts.compression import Compressor, unpacked
from bundle_fix.artifacts.names import check_folders, clean_name, top_folder, tree_path
from bundle_fix.content import Content, SliceContent, chunks
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree, settled

BLOCK = tarfile.BLOCKSIZE
MAX_MEMBERS = 1_000_000
MAX_TIME = 1 << 62
INCREMENTAL = b"D"
"""The type of a folder in a GNU incremental backup; tarfile takes the names in one for others."""
OF_STAMP = frozenset({"path", "linkpath", "size", "hdrcharset"})
"""Pax records that the member's other fields tell."""
SPECIAL_KINDS = {tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "fifo"}


@contextmanager
def read_tar(path: Path) -> Iterator[Tree]:
    """The tree in the tarball at ``path``; its contents can be read while the context is open.

    Raises:
        BundleFixError: it is no tarball, is damaged or cut short, or a member's name or link is
            one that no honest archive has.
    """
    with unpacked(path) as file:
        yield _tree(file, path)


class _Member(NamedTuple):
    info: tarfile.TarInfo
    name: str
    """Without ``./``."""
    end: int
    """Where the next member starts."""


def _tree(file: IO[bytes], path: Path) -> Tree:
    members = _members(file, path)
    _check_end(file, path, members[-1].end if members else 0)
    top = top_folder((member.name, member.info.isdir()) for member in members)
    keys = [tree_path(member.name, top) for member in members]
    last = dict(zip(keys, members, strict=True))
    nodes: dict[str, Node] = {}
    start = 0
    for key, member in zip(keys, members, strict=True):
        latest = last[key]
        if member is not latest and member.info.isdir() and latest.info.isdir():
            # The later entry of a folder wins, as in tar; this one stays before what follows it.
            continue
        if key in nodes:
            raise BundleFixError(f"two members have the name {member.name!r}", where=str(path))
        if not (key or member.info.isdir()):
            raise BundleFixError("a member has no name", where=str(path))
        nodes[key] = _node(member, start, file.fileno(), nodes, top, path)
        start = member.end
    dotted = bool(members) and all(
        m.info.name == "." or m.info.name.startswith("./") for m in members
    )
    tree = Tree(nodes, f"./{top}".rstrip("/") if dotted else top)
    check_folders(tree, path)
    return tree


def _members(file: IO[bytes], path: Path) -> list[_Member]:
    members: list[_Member] = []
    end = 0
    try:
        archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errorlevel=2)  # noqa: SIM115
        for info in archive:
            if info.size < 0 or archive.offset <= end:
                raise tarfile.ReadError("a member's size is negative")
            end = archive.offset
            members.append(_Member(info, clean_name(info.name, path), end))
            if len(members) > MAX_MEMBERS:
                raise BundleFixError(f"it has more than {MAX_MEMBERS} members", where=str(path))
    except BundleFixError:
        raise
    except Exception as error:
        # Lying headers make tarfile raise what it likes: ValueError, OverflowError, RecursionError.
        if "unexpected end" in str(error):
            raise BundleFixError(
                "the archive is cut short", where=str(path), hint="copy or download it again"
            ) from error
        raise BundleFixError(
            f"it is not a tarball that can be read: {error}",
            where=str(path),
            hint="tarballs (plain, gz, xz, zst, bz2), folders and ELF files can",
        ) from error
    return members


def _check_end(file: IO[bytes], path: Path, end: int) -> None:
    """Python's tarfile takes a damaged header for the end; the true end is a block of zeros."""
    size = file.seek(0, io.SEEK_END)
    block = os.pread(file.fileno(), BLOCK, end)
    if len(block) < BLOCK or block.strip(b"\0"):
        raise BundleFixError(
            f"the archive is cut short or damaged at byte {end} of {size}",
            where=str(path),
            hint="copy or download it again",
        )


def _node(
    member: _Member, start: int, fd: int, nodes: Mapping[str, Node], top: str, path: Path
) -> Node:
    """The node of ``member``; what lies between ``start`` and it is of no member of the tree."""
    info = member.info
    stamp = _stamp(info)
    before = SliceContent(fd, start, info.offset - start) if start < info.offset else None
    header = SliceContent(fd, info.offset, info.offset_data - info.offset)
    everything = SliceContent(fd, info.offset, member.end - info.offset)
    if member.info.isdir():
        return Directory(stamp, header, before)
    if info.issym():
        return Symlink(info.linkname, stamp, header, before)
    if info.islnk():
        twin = tree_path(clean_name(info.linkname, path), top)
        target = nodes.get(twin)
        if not isinstance(target, File):
            raise BundleFixError(
                f"the hard link {info.name!r} leads to {info.linkname!r}, which is no file before"
                " it in the archive",
                where=str(path),
            )
        return File(target.content, stamp, header, target.twin or twin, before)
    for unreadable, option in ((info.issparse(), "--sparse"), (info.type == INCREMENTAL, "-g")):
        if unreadable:
            raise BundleFixError(
                f"the member {info.name!r} is stored as tar's {option} does, which cannot be read",
                where=str(path),
                hint=f"make the tarball without {option}",
            )
    if info.isfile():
        content = SliceContent(fd, info.offset_data, info.size)
        return File(content, stamp, header, before=before)
    return Special(SPECIAL_KINDS.get(info.type, "special"), stamp, everything, before)


def _stamp(info: tarfile.TarInfo) -> Stamp:
    extra = {name: value for name, value in info.pax_headers.items() if name not in OF_STAMP}
    # Not a number, as a pax header may have it, is not below anything either.
    mtime = info.mtime if abs(info.mtime) < MAX_TIME else 0
    return Stamp(info.mode & 0o7777, info.uid, info.gid, info.uname, info.gname, mtime, extra)


def write_tar(tree: Tree, file: IO[bytes], compress: Compressor) -> None:
    """Write ``tree`` as a tarball; members that are as they were read are copied as they stand.

    Args:
        tree: what to write; its contents must still be open.
        file: where to.
        compress: wraps ``file`` in the stream that compresses; closed here.
    """
    with compress(file) as stream:
        total = 0
        for path, node in tree.nodes.items():
            total += _write_member(stream, tree, path, node)
        # The end of the archive (POSIX ustar): two blocks of zeros, filled up to a record.
        stream.write(bytes(2 * BLOCK + -(total + 2 * BLOCK) % tarfile.RECORDSIZE))


def _write_member(stream: IO[bytes], tree: Tree, path: str, node: Node) -> int:
    if isinstance(node, File):
        node = settled(tree, node)
    total = _copy(node.before, stream, path) if node.before is not None else 0
    if node.header is not None:
        total += _copy(node.header, stream, path)
    else:
        header = _header(tree, path, node)
        stream.write(header)
        total += len(header)
    if isinstance(node, File) and node.twin is None:
        total += _copy(node.content, stream, path)
        stream.write(bytes(-total % BLOCK))
    return total + -total % BLOCK


def _copy(content: Content, stream: IO[bytes], path: str) -> int:
    with content.open() as reader:
        for piece in chunks(reader, path):
            stream.write(piece)
    return content.size


def _header(tree: Tree, path: str, node: Node) -> bytes:
    stamp = node.stamp
    info = tarfile.TarInfo(_name(tree, path))
    info.mode, info.uid, info.gid = stamp.mode, stamp.uid, stamp.gid
    info.uname, info.gname = stamp.owner, stamp.group
    info.mtime = stamp.mtime
    info.pax_headers = {k: v for k, v in stamp.extra.items() if k not in ("mtime", "uid", "gid")}
    if stamp.mtime_text is not None:
        info.pax_headers["mtime"] = stamp.mtime_text
    if isinstance(node, Directory):
        info.type = tarfile.DIRTYPE
    elif isinstance(node, Symlink):
        info.type, info.linkname = tarfile.SYMTYPE, node.target
    elif isinstance(node, Special):
        raise BundleFixError(f"a {node.kind} cannot be changed", where=path)
    elif node.twin is not None:
        info.type, info.linkname = tarfile.LNKTYPE, _name(tree, node.twin)
    else:
        info.size = node.content.size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _name(tree: Tree, path: str) -> str:
    return posixpath.join(tree.top, path) if path else tree.top or "."
