"""Tarballs: read into a tree whose files are slices of the unpacked stream, and written from one.

The unpacked stream lies in an unnamed temporary file while the artifact is open, so that memory
stays flat and every member, its header included, can be copied as it stands.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from msgspec.structs import replace

from bundle_fix.archive.compression.codecs import decompress_file
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name, find_top_directory, strip_top
from bundle_fix.archive.tar.headers import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    FIFO,
    HARD_LINK,
    SYMLINK,
    TarMember,
    read_members,
)
from bundle_fix.archive.tar.sparse import SparseContent, SparseHeader, drop_sparse_records
from bundle_fix.model.content import (
    ArchiveSlice,
    BytesContent,
    Content,
    FileReader,
    PatchedContent,
    SliceableReader,
    read_chunks,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import (
    Directory,
    DuplicateMember,
    File,
    Metadata,
    Node,
    Special,
    Symlink,
    Tree,
    break_missing_hardlink,
)

RECORD = 20 * BLOCK
"""Bytes of a record: tar fills its archives up to whole ones."""
OF_STAMP = frozenset({"path", "linkpath", "size", "hdrcharset"})
"""Pax records that the member's other fields tell."""
SPECIAL_KINDS = {CHARACTER: "device", BLOCK_DEVICE: "device", FIFO: "fifo"}
NOTHING: Mapping[str, str] = MappingProxyType({})
EXTENTS_PER_MEMBER = 8
"""Pieces of a sparse file that take as much memory as a member."""


@contextmanager
def read_tar(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The tree in the tarball at ``path``; its contents can be read while the context is open.

    Raises:
        BundleFixError: it is no tarball, is damaged or cut short, unpacks to more than ``limits``
            allow, or a member's name or link is one that no honest archive has.
    """
    with decompress_file(path, limits, progress) as file:
        yield tree_of_tar(file, path, limits)


class _Entry(NamedTuple):
    """A member as read: its node, and where in the archive it starts and ends."""

    name: str
    node: Node
    start: int
    end: int


def tree_of_tar(
    file: IO[bytes], path: Path, limits: Limits = DEFAULT_LIMITS, *, at_root: bool = False
) -> Tree:
    """The tree in an unpacked tarball, of which ``file`` must stay open; see `tree_in_tar`."""
    archive = FileReader(file.fileno(), 0, file.seek(0, 2))
    return tree_in_tar(archive, path, path.stat().st_size, limits, at_root=at_root)


def tree_in_tar(
    archive: SliceableReader, path: Path, packed: int, limits: Limits = DEFAULT_LIMITS,
    *, at_root: bool = False,
) -> Tree:  # fmt: skip
    """The tree in an unpacked tarball.

    Args:
        archive: the tarball.
        path: the artifact's name, for messages.
        packed: the artifact's size.
        limits: how much may be in it.
        at_root: whether it is to be unpacked at the root of a file system, so that the one folder
            that may hold everything is no pack's.
    """
    entries: list[_Entry] = []
    last: dict[str, int] = {}
    linked: set[str] = set()
    duplicates: list[DuplicateMember] = []
    dotted, holes, count, end = True, 0, 0, 0
    for member in read_members(archive, path):
        count += 1 + len(member.extents or ()) // EXTENTS_PER_MEMBER
        limits.check_members(count, path)
        holes += member.real_size - member.size
        limits.check_size(archive.size + max(holes, 0), packed, path)
        name = clean_name(member.name, path)
        known = entries[last[name]].node if name in last else None
        node = _node(member, archive, last, entries, path)
        if known is not None:
            duplicates += _repeated(known, node, name, linked, path)
        elif not (name or member.is_folder):
            raise BundleFixError("a member has no name", where=str(path))
        if isinstance(node, File) and node.hardlink is not None:
            linked.add(node.hardlink)
        dotted &= member.name == "." or member.name.startswith("./")
        last[name] = len(entries)
        entries.append(_Entry(name, node, member.offset, member.end))
        end = member.end
    kinds = ((e.name, isinstance(e.node, Directory)) for e in entries)
    top = "" if at_root else find_top_directory(kinds)
    nodes = _nodes(entries, last, top, archive)
    shown = f"./{top}".rstrip("/") if dotted and entries else top
    rest = ArchiveSlice(archive, end, archive.size - end)
    tree = Tree(nodes, shown, rest, tuple(d.relative_to(top) for d in duplicates))
    check_parents(tree, path)
    return tree


def _nodes(
    entries: list[_Entry], last: Mapping[str, int], top: str, archive: SliceableReader
) -> dict[str, Node]:
    """The members by path, the last of each name, with what stands before them in the archive."""
    nodes: dict[str, Node] = {}
    start = 0
    for number, (name, node, offset, end) in enumerate(entries):
        if last[name] != number or (top and not name):
            # The later entry of a name wins, as in tar; this one stays before what follows it.
            continue
        before = ArchiveSlice(archive, start, offset - start) if start < offset else None
        twin = strip_top(node.hardlink, top) if isinstance(node, File) and node.hardlink else None
        key = strip_top(name, top)
        if isinstance(node, File) and twin != node.hardlink:
            nodes[key] = replace(node, hardlink=twin, preceding=before)
        else:
            nodes[key] = replace(node, preceding=before) if before else node
        start = end
    return nodes


def _repeated(
    known: Node, node: Node, name: str, linked: set[str], path: Path
) -> Iterator[DuplicateMember]:
    """What a name that comes twice says of its archive.

    Raises:
        BundleFixError: it is of two kinds: what is unpacked may land behind a link.
    """
    if isinstance(known, Directory) and isinstance(node, Directory):
        return
    if not (_is_plain(known) and _is_plain(node)) or name in linked:
        raise BundleFixError(
            f"two members have the name {name!r}, and one of them is no file, or a hard link",
            where=str(path), hint="an archive like this one must not be trusted",
        )  # fmt: skip
    yield DuplicateMember(name, known)


def _is_plain(node: Node) -> bool:
    return isinstance(node, File) and node.hardlink is None


def _node(
    member: TarMember,
    archive: SliceableReader,
    last: Mapping[str, int],
    entries: list[_Entry],
    path: Path,
) -> Node:
    stamp = _stamp(member)
    header = ArchiveSlice(archive, member.offset, member.data - member.offset)
    if member.is_folder:
        # The names that an incremental backup keeps of a folder belong to its header.
        return Directory(stamp, replace(header, size=member.end - member.offset))
    if member.kind == SYMLINK:
        return Symlink(member.link, stamp, header)
    if member.kind == HARD_LINK:
        return _hard_link(member, stamp, header, last, entries, path)
    if member.kind in SPECIAL_KINDS:
        return Special(SPECIAL_KINDS[member.kind], stamp, header)
    stored = ArchiveSlice(archive, member.data, member.size)
    if member.extents is None:
        return File(stored, stamp, header)
    sparse = SparseContent(stored, member.real_size, member.extents)
    return File(sparse, stamp, SparseHeader(header, sparse))


def _hard_link(
    member: TarMember, stamp: Metadata, header: Content, last: Mapping[str, int],
    entries: list[_Entry], path: Path,
) -> File:  # fmt: skip
    name = clean_name(member.link, path)
    target = entries[last[name]].node if name in last else None
    if not isinstance(target, File):
        raise BundleFixError(
            f"the hard link {member.name!r} leads to {member.link!r}, which is no file before"
            " it in the archive",
            where=str(path),
        )
    return File(target.content, stamp, header, target.hardlink or name)


def _stamp(member: TarMember) -> Metadata:
    extra: Mapping[str, str] = NOTHING
    if member.records:
        extra = {name: value for name, value in member.records.items() if name not in OF_STAMP}
    return Metadata(
        member.mode, member.uid, member.gid, member.owner, member.group, member.mtime, extra
    )


def tar_parts(tree: Tree) -> Iterator[tuple[str, Content]]:
    """What a tarball of ``tree`` is made of, in a row, each with the member it is for.

    Members that are as they were read are taken as they stand.
    """
    total = 0
    for path, node in tree.nodes.items():
        for part in _member_parts(tree, path, node):
            total += part.size
            yield path, part
        if total % BLOCK:
            padding = BytesContent(bytes(-total % BLOCK))
            total += padding.size
            yield path, padding
    yield "", _end(tree, total)


def _end(tree: Tree, total: int) -> Content:
    """What ends the archive (POSIX ustar): two blocks of zeros, filled up to a record.

    What stood there stays, but for the zeros that fill up a record where there are more members.
    """
    end = tree.trailer
    if end is None or (total != end.start and _fills_up(end)):
        return BytesContent(bytes(2 * BLOCK + -(total + 2 * BLOCK) % RECORD))
    return end


def _fills_up(end: ArchiveSlice) -> bool:
    """Whether the end of an archive is zeros up to a whole record."""
    if (end.start + end.size) % RECORD:
        return False
    with end.open() as reader:
        return not any(piece.strip(b"\0") for piece in read_chunks(reader))


def _member_parts(tree: Tree, path: str, node: Node) -> Iterator[Content]:
    if isinstance(node, File):
        node = break_missing_hardlink(tree, node)
    if node.preceding is not None:
        yield node.preceding
    header, content = node.header, None
    if isinstance(node, File) and node.hardlink is None:
        header, content = _stored(node)
    yield header if header is not None else BytesContent(_header(tree, path, node))
    if content is not None:
        yield content


def _stored(node: File) -> tuple[Content | None, Content]:
    """The header of a file, where the old one holds, and its bytes as the archive stores them."""
    header, content = node.header, node.content
    if not isinstance(header, SparseHeader):
        return header, content
    if content == header.of:
        return header, header.of.stored
    if isinstance(content, PatchedContent) and content.base == header.of:
        patches = header.of.in_store(content.patches)
        if patches is not None:
            return header, PatchedContent(header.of.stored, patches)
    return None, content


def _header(tree: Tree, path: str, node: Node) -> bytes:
    stamp = node.metadata
    info = tarfile.TarInfo(_name(tree, path))
    info.mode, info.uid, info.gid = stamp.mode, stamp.uid, stamp.gid
    info.uname, info.gname = stamp.owner, stamp.group
    info.mtime = stamp.mtime
    info.pax_headers = {
        name: value
        for name, value in drop_sparse_records(stamp.extra).items()
        if name not in ("mtime", "uid", "gid")
    }
    if stamp.mtime_text is not None:
        info.pax_headers["mtime"] = stamp.mtime_text
    if isinstance(node, Directory):
        info.type = tarfile.DIRTYPE
    elif isinstance(node, Symlink):
        info.type, info.linkname = tarfile.SYMTYPE, node.target
    elif isinstance(node, Special):
        raise BundleFixError(f"a {node.kind} cannot be changed", where=path)
    elif node.hardlink is not None:
        info.type, info.linkname = tarfile.LNKTYPE, _name(tree, node.hardlink)
    else:
        info.size = node.content.size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _name(tree: Tree, path: str) -> str:
    return posixpath.join(tree.top, path) if path else tree.top or "."
