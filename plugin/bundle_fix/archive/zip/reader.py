"""Zip archives, read into a tree whose files are slices of the archive or of a temporary file.

Links are stored as Info-ZIP stores them, by their mode.
"""

from __future__ import annotations

import calendar
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name, find_top_directory, make_tree_path
from bundle_fix.archive.wheel import INFO
from bundle_fix.archive.zip.central_directory import (
    CentralDirectory,
    ZipEntry,
    decode_name,
    format_name,
    read_central_directory,
)
from bundle_fix.archive.zip.data import STORED, unpack_entry
from bundle_fix.archive.zip.writer import UNIX, ZipArchive, ZipHeader
from bundle_fix.model.content import FileSlice
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, StepProgress, no_progress
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

MAX_TARGET = 4096
"""Bytes of the longest text of a link (PATH_MAX)."""
MS_FOLDER = 0x10


@contextmanager
def read_zip(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """The tree in the zip archive at ``path``; its contents can be read while the context is open.

    Raises:
        BundleFixError: it is damaged, cut short or encrypted, unpacks to more than ``limits``
            allow, or a member's name is one that no honest archive has.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(path.open("rb"))
            listing = read_central_directory(archive.fileno(), path, limits)
            spool = stack.enter_context(tempfile.TemporaryFile(prefix="bundle-fix-"))
            step = ProgressStep(
                f"reading {path.name}", sum(entry.size for entry in listing.entries)
            )
            tree = _tree(archive.fileno(), listing, spool, path, partial(progress, step))
            spool.truncate()
        except OSError as error:
            raise BundleFixError(
                f"cannot unpack it: {error.strerror or error}", where=str(path),
                hint="TMPDIR names another folder",
            ) from error  # fmt: skip
        yield tree


def _tree(
    fd: int, listing: CentralDirectory, spool: IO[bytes], path: Path, tell: StepProgress
) -> Tree:
    entries = listing.entries
    names = [clean_name(decode_name(entry), path) for entry in entries]
    top = find_top_directory((name, _is_folder(e)) for name, e in zip(names, entries, strict=True))
    if top.endswith(INFO):
        top = ""
    front = FileSlice(fd, 0, min((entry.start for entry in entries), default=0))
    archive = ZipArchive(front, listing.comment, listing.is_large)
    nodes: dict[str, Node] = {}
    done = 0
    for name, entry in zip(names, entries, strict=True):
        key = make_tree_path(name, top)
        if key in nodes:
            raise BundleFixError(f"two members have the name {name!r}", where=str(path))
        if not (key or _is_folder(entry)):
            raise BundleFixError("a member has no name", where=str(path))
        tell(done)
        nodes[key] = _node(fd, entry, spool, archive, path)
        done += entry.size
    tree = Tree(nodes, top)
    check_parents(tree, path)
    return tree


def _is_folder(entry: ZipEntry) -> bool:
    return entry.name.endswith(b"/")


def _node(fd: int, entry: ZipEntry, spool: IO[bytes], archive: ZipArchive, path: Path) -> Node:
    content = _content(fd, entry, spool, path)
    stamp = _stamp(entry)
    whole = FileSlice(fd, entry.start, entry.end - entry.start)
    header = ZipHeader(entry, content, whole, archive)
    kind = stat.S_IFMT(entry.external >> 16) if entry.system == UNIX else 0
    if _is_folder(entry):
        return Directory(stamp, header)
    if kind == stat.S_IFLNK:
        spool.flush()
        return Symlink(_target(content, entry, path), stamp, header)
    if kind not in (0, stat.S_IFREG):
        return Special("device, fifo or socket", stamp, header)
    return File(content, stamp, header)


def _content(fd: int, entry: ZipEntry, spool: IO[bytes], path: Path) -> FileSlice:
    """The bytes of a member: in the archive where they are stored, else in the temporary file."""
    if entry.method == STORED:
        unpack_entry(fd, entry, path, None)
        return FileSlice(fd, entry.data, entry.size)
    start = spool.tell()
    unpack_entry(fd, entry, path, spool)
    return FileSlice(spool.fileno(), start, entry.size)


def _target(content: FileSlice, entry: ZipEntry, path: Path) -> str:
    if content.size > MAX_TARGET:
        raise BundleFixError(f"the link {format_name(entry)} is too long", where=str(path))
    with content.open() as reader:
        return os.fsdecode(reader.pread(0, content.size))


def _stamp(entry: ZipEntry) -> Metadata:
    mode = stat.S_IMODE(entry.external >> 16) if entry.system == UNIX else 0
    year, month, day = 1980 + (entry.date >> 9), entry.date >> 5 & 15, entry.date & 31
    hour, minute, second = entry.time >> 11, entry.time >> 5 & 63, 2 * (entry.time & 31)
    # Tools that know no time write zeros, of which there is no date.
    date = (year, min(max(month, 1), 12), max(day, 1), hour, minute, second, 0, 0, 0)
    return Metadata(mode or (0o755 if _is_folder(entry) else 0o644), mtime=calendar.timegm(date))
