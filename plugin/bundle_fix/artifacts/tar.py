"""Tarballs: read into a tree whose files are slices of the unpacked stream, and written from one.

The unpacked stream lies in an unnamed temporary file while the artifact is open, so that memory
stays flat and every member, its header included, can be copied as it stands.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bundle_fix.artifacts.compression import Compression, Compressor, compression_of
from bundle_fix.content import CHUNK, Content, SliceContent, chunks
from bundle_fix.errors import BundleFixError
from bundle_fix.tree import Directory, File, Node, Special, Stamp, Symlink, Tree

BLOCK = tarfile.BLOCKSIZE
MAX_UNPACKED = 64 << 30
"""Bytes that a tarball may unpack to."""
MAX_MEMBERS = 1_000_000
WELL_KNOWN = frozenset({"bin", "sbin", "lib", "lib64", "libexec", "usr", "opt", "etc", "share"})
"""Folders that a pack consists of: never the one folder around all of it."""
SPECIAL_KINDS = {tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "fifo"}


@contextmanager
def read_tar(path: Path) -> Iterator[Tree]:
    """The tree in the tarball at ``path``; its contents can be read while the context is open.

    Raises:
        BundleFixError: it is no tarball, is damaged or cut short, or a member's name or link is
            one that no honest archive has.
    """
    with _unpacked(path) as file:
        yield _tree(file, path)


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    compression = compression_of(path)
    if compression is None:
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="bundle-fix-") as spool:
        _decompress(path, compression, spool)
        spool.seek(0)
        yield spool


def _decompress(path: Path, compression: Compression, spool: IO[bytes]) -> None:
    total = 0
    try:
        with compression.reader(str(path)) as stream:
            while piece := stream.read(CHUNK):
                total += len(piece)
                if total > MAX_UNPACKED:
                    raise BundleFixError(
                        f"it unpacks to more than {MAX_UNPACKED >> 30} GiB", where=str(path)
                    )
                spool.write(piece)
    except EOFError as error:
        raise BundleFixError(
            "the archive is cut short", where=str(path), hint="copy or download it again"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise BundleFixError(
                f"cannot unpack it into {tempfile.gettempdir()}: {error.strerror}",
                where=str(path),
                hint="TMPDIR names another folder",
            ) from error
        raise _damaged(path, str(error)) from error
    except Exception as error:
        # Every library has error types of its own (zlib.error, LZMAError, ZstdError, IsalError).
        if isinstance(error, BundleFixError):
            raise
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> BundleFixError:
    return BundleFixError(
        f"the archive is damaged: {reason}", where=str(path), hint="copy or download it again"
    )


def _tree(file: IO[bytes], path: Path) -> Tree:
    members, end = _members(file, path)
    _check_end(file, path, end)
    names = [_clean(info.name, path) for info in members]
    top = _top(names, members)
    fd = file.fileno()
    nodes: dict[str, Node] = {}
    for info, name in zip(members, names, strict=True):
        key = name[len(top) :].lstrip("/") if top else name
        header = SliceContent(fd, info.offset, info.offset_data - info.offset)
        node = _node(info, header, fd, nodes, top, path)
        if key in nodes and not (isinstance(node, Directory) and isinstance(nodes[key], Directory)):
            raise BundleFixError(f"two members have the name {name!r}", where=str(path))
        nodes[key] = node
    dotted = bool(members) and all(m.name == "." or m.name.startswith("./") for m in members)
    return Tree(nodes, f"./{top}".rstrip("/") if dotted else top)


def _members(file: IO[bytes], path: Path) -> tuple[list[tarfile.TarInfo], int]:
    try:
        archive = tarfile.open(fileobj=file, mode="r:", errorlevel=2)  # noqa: SIM115
        members = []
        while (info := archive.next()) is not None:
            members.append(info)
            if len(members) > MAX_MEMBERS:
                raise BundleFixError(f"it has more than {MAX_MEMBERS} members", where=str(path))
    except (tarfile.TarError, OSError, ValueError) as error:
        if "unexpected end" in str(error):
            raise BundleFixError(
                "the archive is cut short", where=str(path), hint="copy or download it again"
            ) from error
        raise BundleFixError(
            f"it is not a tarball that can be read: {error}",
            where=str(path),
            hint="tarballs (plain, gz, xz, zst, bz2), folders and ELF files can",
        ) from error
    return members, archive.offset


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


def _clean(name: str, path: Path) -> str:
    """A member's name without ``./`` and doubled slashes.

    Raises:
        BundleFixError: it is absolute, or leaves the folder it is unpacked in.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise BundleFixError(
            f"the member {name!r} would be unpacked outside the folder it is unpacked in",
            where=str(path),
            hint="an archive like this one must not be trusted",
        )
    return "/".join(parts)


def _top(names: list[str], members: list[tarfile.TarInfo]) -> str:
    """The one folder that holds everything, or empty."""
    firsts = {name.split("/", 1)[0] for name in names if name}
    if len(firsts) != 1:
        return ""
    top = firsts.pop()
    is_folder = all(info.isdir() for info, name in zip(members, names, strict=True) if name == top)
    return top if is_folder and top not in WELL_KNOWN else ""


def _node(
    info: tarfile.TarInfo,
    header: Content,
    fd: int,
    nodes: Mapping[str, Node],
    top: str,
    path: Path,
) -> Node:
    stamp = Stamp(
        info.mode & 0o7777, info.uid, info.gid, info.uname, info.gname, info.mtime,
        {k: v for k, v in info.pax_headers.items() if k not in ("path", "linkpath", "size")},
    )  # fmt: skip
    if info.isdir():
        return Directory(stamp, header)
    if info.issym():
        return Symlink(info.linkname, stamp, header)
    if info.islnk():
        twin = _clean(info.linkname, path)
        twin = twin[len(top) :].lstrip("/") if top else twin
        target = nodes.get(twin)
        if not isinstance(target, File):
            raise BundleFixError(
                f"the hard link {info.name!r} leads to {info.linkname!r}, which is no file before"
                " it in the archive",
                where=str(path),
            )
        return File(target.content, stamp, header, twin=target.twin or twin)
    if info.issparse():
        raise BundleFixError(
            f"the member {info.name!r} is stored sparse, which cannot be read yet",
            where=str(path),
            hint="make the tarball without tar's --sparse",
        )
    if info.isfile():
        return File(SliceContent(fd, info.offset_data, info.size), stamp, header)
    return Special(SPECIAL_KINDS.get(info.type, "special"), stamp, header)


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
    if node.header is not None:
        with node.header.open() as reader:
            header = reader.pread(0, reader.size)
    else:
        header = _header(tree, path, node)
    stream.write(header)
    if not isinstance(node, File) or node.twin is not None:
        return len(header)
    with node.content.open() as reader:
        for piece in chunks(reader):
            stream.write(piece)
    padding = -node.content.size % BLOCK
    stream.write(bytes(padding))
    return len(header) + node.content.size + padding


def _header(tree: Tree, path: str, node: Node) -> bytes:
    stamp = node.stamp
    info = tarfile.TarInfo(_name(tree, path))
    info.mode, info.uid, info.gid = stamp.mode, stamp.uid, stamp.gid
    info.uname, info.gname = stamp.owner, stamp.group
    info.mtime = stamp.mtime
    info.pax_headers = {k: v for k, v in stamp.extra.items() if k not in ("mtime", "uid", "gid")}
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
    return posixpath.join(tree.top, path) if path else tree.top
