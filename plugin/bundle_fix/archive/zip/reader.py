"""Reader of zip archives: a tree whose files are slices of the archive or of a temporary file.

As in Info-ZIP, a symlink is a member with the mode of a symlink and its target as content.
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
from bundle_fix.archive.names import check_parents, clean_name, find_top_directory, get_tree_path
from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.archive.zip.central_directory import (
    CentralDirectory,
    read_central_directory,
)
from bundle_fix.archive.zip.data import STORED, unpack_entry
from bundle_fix.archive.zip.member_headers import UNIX, ZipArchive, ZipHeader
from bundle_fix.archive.zip.structures import ZipEntry, decode_entry_name, format_entry_name
from bundle_fix.model.content import FileSlice
from bundle_fix.model.errors import UNTRUSTED, BundleFixError, build_os_error
from bundle_fix.model.progress import Progress, ProgressStep, StepProgress, no_progress
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

MAX_TARGET = 4096
"""Bytes of the longest target of a symlink (PATH_MAX)."""


@contextmanager
def read_zip(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Tree]:
    """Yield the tree of the zip archive at ``path``; its contents are open in the context.

    Raises:
        BundleFixError: it is damaged, truncated or encrypted, exceeds ``limits``, or a member has
            an invalid name.
    """
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(path.open("rb"))
            directory = read_central_directory(archive.fileno(), path, limits)
            spool = stack.enter_context(tempfile.TemporaryFile(prefix="bundle-fix-"))
            step = ProgressStep(
                f"reading {path.name}", sum(entry.size for entry in directory.entries)
            )
            tree = _build_tree(archive.fileno(), directory, spool, path, partial(progress, step))
            # The last bytes of the last member may be a hole, which `write_sparse` only skips.
            spool.truncate()
        except OSError as error:
            hint = "set TMPDIR to another directory"
            raise build_os_error("cannot unpack it", error, where=str(path), hint=hint) from error
        yield tree


def _build_tree(
    fd: int, directory: CentralDirectory, spool: IO[bytes], path: Path, progress: StepProgress
) -> Tree:
    """Unpack all members into ``spool`` and return their tree."""
    entries = directory.entries
    names = [clean_name(decode_entry_name(entry), path) for entry in entries]
    top = find_top_directory(
        (name, _is_directory(e)) for name, e in zip(names, entries, strict=True)
    )
    # A wheel may consist only of its metadata, whose directory is part of the paths.
    if top.endswith(METADATA_SUFFIX):
        top = ""
    preceding = FileSlice(fd, 0, min((entry.start for entry in entries), default=0))
    archive = ZipArchive(preceding, directory.comment, directory.is_zip64)
    nodes: dict[str, Node] = {}
    unpacked = 0
    for name, entry in zip(names, entries, strict=True):
        key = get_tree_path(name, top)
        if key in nodes:
            raise BundleFixError(f"two members have the name {name!r}", where=str(path))
        if not (key or _is_directory(entry)):
            raise BundleFixError("a member has an empty name", where=str(path))
        progress(unpacked)
        nodes[key] = _convert_entry(fd, entry, spool, archive, path)
        unpacked += entry.size
    tree = Tree(nodes, top, keeps_symlinks=False)
    check_parents(tree, path)
    return tree


def _is_directory(entry: ZipEntry) -> bool:
    """Return whether a member is a directory, which only its name says (APPNOTE 4.4.17)."""
    return entry.name.endswith(b"/")


def _convert_entry(
    fd: int, entry: ZipEntry, spool: IO[bytes], archive: ZipArchive, path: Path
) -> Node:
    """Unpack a member and return its node."""
    content = _unpack_content(fd, entry, spool, path)
    metadata = _decode_metadata(entry)
    member = FileSlice(fd, entry.start, entry.end - entry.start)
    header = ZipHeader(entry, content, member, archive)
    kind = stat.S_IFMT(entry.external >> 16) if entry.system == UNIX else 0
    if _is_directory(entry):
        return Directory(metadata, header)
    if kind == stat.S_IFLNK:
        # The target is read through the descriptor, which does not see Python's buffer.
        spool.flush()
        return Symlink(_read_target(content, entry, path), metadata, header)
    if kind not in (0, stat.S_IFREG):
        return Special("device, fifo or socket", metadata, header)
    return File(content, metadata, header)


def _unpack_content(fd: int, entry: ZipEntry, spool: IO[bytes], path: Path) -> FileSlice:
    """Return the bytes of a member: a slice of the archive if stored, otherwise of ``spool``."""
    if entry.method == STORED:
        unpack_entry(fd, entry, path, None)
        return FileSlice(fd, entry.data, entry.size)
    start = spool.tell()
    unpack_entry(fd, entry, path, spool)
    return FileSlice(spool.fileno(), start, entry.size)


def _read_target(content: FileSlice, entry: ZipEntry, path: Path) -> str:
    """Return the target of a symlink."""
    if content.size > MAX_TARGET:
        raise BundleFixError(
            f"the target of the symlink {format_entry_name(entry)} is longer than {MAX_TARGET}"
            " bytes",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    with content.open() as reader:
        return os.fsdecode(reader.pread(0, content.size))


def _decode_metadata(entry: ZipEntry) -> Metadata:
    """Return mode and time of a member; the time is taken as UTC, since zip has no time zone."""
    mode = stat.S_IMODE(entry.external >> 16) if entry.system == UNIX else 0
    year, month, day = 1980 + (entry.date >> 9), entry.date >> 5 & 15, entry.date & 31
    hour, minute, second = entry.time >> 11, entry.time >> 5 & 63, 2 * (entry.time & 31)
    # Tools that do not record a time write zeros, but there is no month 0 and no day 0.
    date = (year, min(max(month, 1), 12), max(day, 1), hour, minute, second, 0, 0, 0)
    return Metadata(mode or (0o755 if _is_directory(entry) else 0o644), mtime=calendar.timegm(date))
