"""Reader of tarballs: a tree whose files are slices of the decompressed archive.

The decompressed archive is in an unnamed temporary file while the artifact is open, so that memory
use is constant and every member, including its header, can be copied byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from msgspec.structs import replace

from bundle_fix.archive.compression.spool import decompress_file
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name, find_top_directory, strip_top
from bundle_fix.archive.tar.headers import TarMember, read_members
from bundle_fix.archive.tar.sparse import SparseContent, SparseHeader
from bundle_fix.archive.tar.type_flags import BLOCK_DEVICE, CHARACTER, FIFO, HARD_LINK, SYMLINK
from bundle_fix.model.content import (
    ArchiveSlice,
    Content,
    FileReader,
    SliceableReader,
)
from bundle_fix.model.errors import UNTRUSTED, BundleFixError
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
)

REDUNDANT_RECORDS = frozenset({"path", "linkpath", "size", "hdrcharset"})
"""Pax records whose values are in other fields of a node."""
SPECIAL_KINDS = {CHARACTER: "device", BLOCK_DEVICE: "device", FIFO: "fifo"}
NO_RECORDS: Mapping[str, str] = MappingProxyType({})
EXTENTS_PER_MEMBER = 8
"""Pieces of a sparse file that take as much memory as a member, so they count as one."""


@contextmanager
def read_tar(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Read the tarball at ``path``; the contents of its tree can be read in the context.

    Raises:
        BundleFixError: it is not a tarball, is damaged or truncated, exceeds ``limits``, or the
            name or link target of a member is malicious.
    """
    with decompress_file(path, limits, progress) as file:
        yield read_tar_file(file, path, limits)


class _Entry(NamedTuple):
    """A member as read: its node, and its first and last offset in the archive."""

    name: str
    node: Node
    start: int
    end: int


def read_tar_file(
    file: IO[bytes], path: Path, limits: Limits = DEFAULT_LIMITS, *, at_root: bool = False
) -> Tree:
    """Read a decompressed tarball; ``file`` must stay open. See `parse_tar`."""
    archive = FileReader(file.fileno(), 0, file.seek(0, 2))
    return parse_tar(archive, path, path.stat().st_size, limits, at_root=at_root)


def parse_tar(
    archive: SliceableReader, path: Path, packed_size: int, limits: Limits = DEFAULT_LIMITS,
    *, at_root: bool = False,
) -> Tree:  # fmt: skip
    """Return the tree in a decompressed tarball.

    Args:
        archive: the decompressed tarball.
        path: the artifact's name, for messages.
        packed_size: the artifact's size in bytes.
        limits: the limits for the unpacked artifact.
        at_root: whether it is unpacked at the root of a file system, so that a single directory
            that contains everything is not the pack's own.

    Raises:
        BundleFixError: see `read_tar`.
    """
    entries: list[_Entry] = []
    last: dict[str, int] = {}
    linked: set[str] = set()
    duplicates: list[DuplicateMember] = []
    is_dotted, hole_size, count = True, 0, 0
    for member in read_members(archive, path):
        count += 1 + len(member.extents or ()) // EXTENTS_PER_MEMBER
        limits.check_members(count, path)
        hole_size += member.real_size - member.size
        limits.check_size(archive.size + max(hole_size, 0), packed_size, path)
        name = clean_name(member.name, path)
        node = _build_node(member, archive, last, entries, path)
        if name in last:
            duplicates += _find_duplicates(entries[last[name]].node, node, name, linked, path)
        elif not (name or member.is_directory):
            raise BundleFixError("a member has no name", where=str(path))
        if isinstance(node, File | Symlink) and node.hardlink is not None:
            linked.add(node.hardlink)
        is_dotted &= member.name == "." or member.name.startswith("./")
        last[name] = len(entries)
        entries.append(_Entry(name, node, member.offset, member.end))
    kinds = ((entry.name, isinstance(entry.node, Directory)) for entry in entries)
    top = "" if at_root else find_top_directory(kinds)
    tree = _build_tree(entries, last, top, archive, duplicates, is_dotted=is_dotted)
    check_parents(tree, path)
    return tree


def _build_tree(
    entries: list[_Entry], last: Mapping[str, int], top: str, archive: SliceableReader,
    duplicates: list[DuplicateMember], *, is_dotted: bool,
) -> Tree:  # fmt: skip
    """Return the tree of all entries; with ``is_dotted`` their names start with ``./``."""
    end = entries[-1].end if entries else 0
    return Tree(
        _build_nodes(entries, last, top, archive),
        f"./{top}".rstrip("/") if is_dotted and entries else top,
        ArchiveSlice(archive, end, archive.size - end),
        tuple(duplicate.relative_to(top) for duplicate in duplicates),
    )


def _build_nodes(
    entries: list[_Entry], last: Mapping[str, int], top: str, archive: SliceableReader
) -> dict[str, Node]:
    """Return the nodes by path: the last entry of each name, with the bytes that precede it."""
    nodes: dict[str, Node] = {}
    start = 0
    for number, (name, node, offset, end) in enumerate(entries):
        if last[name] != number or (top and not name):
            # As in tar, the later entry of a name wins. The earlier one becomes part of the bytes
            # that precede the next member, so that a copy of the archive still contains it.
            continue
        preceding = ArchiveSlice(archive, start, offset - start) if start < offset else None
        key = strip_top(name, top)
        if top and isinstance(node, File | Symlink) and node.hardlink is not None:
            link = strip_top(node.hardlink, top)
            nodes[key] = replace(node, hardlink=link, preceding=preceding)
        else:
            nodes[key] = replace(node, preceding=preceding) if preceding else node
        start = end
    return nodes


def _find_duplicates(
    earlier: Node, later: Node, name: str, linked: set[str], path: Path
) -> Iterator[DuplicateMember]:
    """Yield the duplicate if two entries have one name; a directory may be listed twice.

    Args:
        earlier: the earlier entry.
        later: the later entry of the same name.
        name: the name of both.
        linked: the targets of the hard links so far.
        path: the artifact's name, for messages.

    Raises:
        BundleFixError: they are not both plain files: to unpack them could write through a link.
    """
    if isinstance(earlier, Directory) and isinstance(later, Directory):
        return
    if not (_is_plain(earlier) and _is_plain(later)) or name in linked:
        raise BundleFixError(
            f"two members have the name {name!r}, and at least one is a link or not a regular file",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    yield DuplicateMember(name, earlier)


def _is_plain(node: Node) -> bool:
    """Return whether ``node`` is a file and not a hard link to an earlier one."""
    return isinstance(node, File) and node.hardlink is None


def _build_node(
    member: TarMember,
    archive: SliceableReader,
    last: Mapping[str, int],
    entries: list[_Entry],
    path: Path,
) -> Node:
    metadata = _build_metadata(member)
    header = ArchiveSlice(archive, member.offset, member.data_offset - member.offset)
    if member.is_directory:
        return Directory(metadata, header)
    if member.kind == SYMLINK:
        return Symlink(member.link, metadata, header)
    if member.kind == HARD_LINK:
        return _build_hardlink(member, metadata, header, last, entries, path)
    if member.kind in SPECIAL_KINDS:
        return Special(SPECIAL_KINDS[member.kind], metadata, header)
    # POSIX: members of unknown types are regular files.
    stored = ArchiveSlice(archive, member.data_offset, member.size)
    if member.extents is None:
        return File(stored, metadata, header)
    sparse = SparseContent(stored, member.real_size, member.extents)
    return File(sparse, metadata, SparseHeader(header, sparse))


def _build_hardlink(
    member: TarMember, metadata: Metadata, header: Content, last: Mapping[str, int],
    entries: list[_Entry], path: Path,
) -> File | Symlink:  # fmt: skip
    """Return the node of a hard link: the same file or symlink as the member that it names."""
    name = clean_name(member.link, path)
    target = entries[last[name]].node if name in last else None
    if isinstance(target, Symlink):
        return Symlink(target.target, metadata, header, target.hardlink or name)
    if not isinstance(target, File):
        raise BundleFixError(
            f"the target {member.link!r} of the hard link {member.name!r} is not an earlier file"
            " or symlink of the archive",
            where=str(path),
        )
    return File(target.content, metadata, header, target.hardlink or name)


def _build_metadata(member: TarMember) -> Metadata:
    extra: Mapping[str, str] = NO_RECORDS
    if member.records:
        extra = {
            name: value for name, value in member.records.items() if name not in REDUNDANT_RECORDS
        }
    return Metadata(
        member.mode, member.uid, member.gid, member.owner, member.group, member.mtime, extra
    )
