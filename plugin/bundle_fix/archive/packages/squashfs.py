"""Reader of squashfs images and AppImages of type 2, through ``unsquashfs`` of squashfs-tools.

unsquashfs writes one stream, the definitions of all members and then their bytes, into a temporary
file. It creates no files, so a hostile image cannot write outside a directory.

Sources: the AppImage specification, "Type 2 image format"; mksquashfs(1), "PSEUDO FILE DEFINITION
FORMAT".
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from bundle_fix.archive.compression.spool import write_sparse
from bundle_fix.archive.install_location import find_install_location
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.names import check_parents, clean_name
from bundle_fix.model.content import CHUNK, FileSlice
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError, build_os_error
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree

SQUASHFS_MAGIC = b"hsqs"
PROGRAM = "unsquashfs"
DATA_MARK = b"\n#\n# START OF DATA - DO NOT MODIFY\n#\n"
DEFINITION = re.compile(rb"((?:\\.|[^\\ \n])+) ([A-Z]) ([^\n]*)\n", re.DOTALL)
"""A member: its name, in which a backslash precedes special characters, its kind and its fields."""
LISTED_ROOT = "squashfs-root"
"""The first directory of all paths that ``unsquashfs -ls`` prints."""
MAX_DEFINITIONS = 128 << 20
"""Bytes of the definitions of all members."""
RESOURCE_LIMITS = (
    (resource.RLIMIT_AS, 4 << 30),
    (resource.RLIMIT_CPU, 900),
    (resource.RLIMIT_FSIZE, MAX_DEFINITIONS),
)
"""Limits of unsquashfs: bytes of address space, seconds of CPU time, bytes of its messages."""
MAX_MESSAGE = 2000
"""Bytes at the end of its messages, of which the last line is shown."""
ELF_HEADER_SIZE = 64
ELF_SECTIONS = {1: ("IIHHHHH", 32, 16), 2: ("QIHHHHH", 40, 24)}
"""By ELF class: the fields from e_shoff (e_phoff follows e_entry) to e_shnum, the offset of
e_shoff, and the offset of sh_offset in a section header (gABI, "ELF Header" and "Sections")."""


@contextmanager
def read_squashfs(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Tree]:
    """Read the tree in the squashfs image or the AppImage at ``path``.

    Raises:
        BundleFixError: unsquashfs is missing or too old, the image is damaged or exceeds
            ``limits``, or a member has an invalid name.
    """
    offset = _find_image(path)
    try:
        with tempfile.TemporaryFile(prefix="bundle-fix-") as spool:
            _write_members(spool, path, offset, limits)
            tree = _build_image_tree(spool, path, limits)
            _compare_names(tree, path, offset)
            yield replace(tree, location=find_install_location(tree))
    except OSError as error:
        hint = "set TMPDIR to another directory"
        raise build_os_error("cannot unpack it", error, where=str(path), hint=hint) from error


def _find_image(path: Path) -> int:
    """Return the offset of the squashfs image: 0, or the end of the ELF file before it."""
    with path.open("rb") as file:
        start = file.read(ELF_HEADER_SIZE).ljust(ELF_HEADER_SIZE, b"\0")
        if start.startswith(SQUASHFS_MAGIC):
            return 0
        offset = _find_elf_end(start, file)
        file.seek(offset)
        if file.read(len(SQUASHFS_MAGIC)) != SQUASHFS_MAGIC:
            raise BundleFixError(
                f"missing squashfs image at byte {offset} of the AppImage", where=str(path),
                hint=AGAIN,
            )  # fmt: skip
    return offset


def _find_elf_end(start: bytes, file: IO[bytes]) -> int:
    """Return the end of an ELF file: of its section headers, or of its last section."""
    fields, at, section_offset = ELF_SECTIONS.get(start[4], ELF_SECTIONS[2])
    order = ">" if start[5] == 2 else "<"
    table, _, _, _, _, size, count = struct.unpack_from(f"{order}{fields}", start, at)
    file.seek(min(table + size * max(count - 1, 0), os.fstat(file.fileno()).st_size))
    word = "Q" if fields.startswith("Q") else "I"
    last = file.read(size).ljust(section_offset + 2 * struct.calcsize(word), b"\0")
    where, length = struct.unpack_from(f"{order}2{word}", last, section_offset)
    ends = (table + size * count, where + length)
    return int(max(end for end in (*ends, 0) if end <= os.fstat(file.fileno()).st_size))


def _write_members(spool: IO[bytes], path: Path, offset: int, limits: Limits) -> None:
    """Let unsquashfs write all members; stop it when they exceed the limits."""
    total, allocated, packed = 0, 0, path.stat().st_size
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, tempfile.TemporaryFile() as messages:
        try:
            options = ["-processors", "1", "-no-xattrs", "-pf", f"/proc/self/fd/{writing}"]
            process = _start_unsquashfs([*options, *_at(offset)], path, messages, writing)
        finally:
            os.close(writing)
        try:
            while chunk := pipe.read(CHUNK):
                total += len(chunk)
                allocated += write_sparse(spool, chunk)
                limits.check_size(total, packed, path, allocated)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        _check_exit(process.returncode, messages, path)
    spool.truncate()
    spool.flush()


def _list_member_names(path: Path, offset: int) -> set[str]:
    """Return the lines that ``unsquashfs -ls`` prints, the paths of all members."""
    with tempfile.TemporaryFile() as messages:
        process = _start_unsquashfs(["-ls", *_at(offset)], path, messages)
        try:
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        _check_exit(process.returncode, messages, path)
        messages.seek(0)
        return {os.fsdecode(line) for line in messages.read().split(b"\n")}


def _at(offset: int) -> tuple[str, str]:
    return "-offset", str(offset)


def _start_unsquashfs(
    options: list[str], path: Path, messages: IO[bytes], *inherited: int
) -> subprocess.Popen[bytes]:
    """Start unsquashfs with limits of memory, time and the size of its ``messages``.

    Raises:
        BundleFixError: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BundleFixError(
            f"reading it requires {PROGRAM}, which is not installed", where=str(path),
            hint="install squashfs-tools 4.5 or newer, or unpack it and check the directory",
        )  # fmt: skip
    process = subprocess.Popen(
        [program, "-quiet", "-no-progress", *options, str(path.absolute())],
        stdin=subprocess.DEVNULL, stdout=messages, stderr=messages, pass_fds=inherited,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    for kind, limit in RESOURCE_LIMITS:
        soft, hard = resource.getrlimit(kind)
        least = min(n for n in (soft, limit) if n != resource.RLIM_INFINITY)
        # It may have ended already.
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, kind, (least, hard))
    return process


def _check_exit(code: int, messages: IO[bytes], path: Path) -> None:
    """Raise an error with the last message of unsquashfs if it failed."""
    if code == 0:
        return
    size = messages.seek(0, os.SEEK_END)
    messages.seek(max(0, size - MAX_MESSAGE))
    lines = messages.read(MAX_MESSAGE).decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else f"exit code {code}"
    raise BundleFixError(f"{PROGRAM} cannot read it: {reason}", where=str(path), hint=AGAIN)


def _build_image_tree(spool: IO[bytes], path: Path, limits: Limits) -> Tree:
    """Return the tree of the definitions and contents in ``spool``."""
    fd, size = spool.fileno(), os.fstat(spool.fileno()).st_size
    definitions, mark, _ = os.pread(fd, MAX_DEFINITIONS, 0).partition(DATA_MARK)
    if not mark:
        raise BundleFixError(
            f"its list of members is damaged or exceeds {MAX_DEFINITIONS >> 20} MiB",
            where=str(path), hint=AGAIN,
        )  # fmt: skip
    data = len(definitions) + len(mark)
    nodes: dict[str, Node] = {}
    position = 0
    definitions += b"\n"
    while position < len(definitions):
        match = DEFINITION.match(definitions, position)
        if match is None:
            raise _build_ambiguity_error(path)
        position = match.end()
        limits.check_members(len(nodes) + 1, path)
        name = clean_name(_unescape(match[1]).lstrip("/"), path)
        if name in nodes:
            raise BundleFixError(
                f"two members have the name {name!r}", where=str(path), hint=UNTRUSTED
            )
        try:
            node = _build_node(match[2], match[3], nodes, FileSlice(fd, data, size - data))
        except (ValueError, IndexError) as error:
            raise _build_ambiguity_error(path) from error
        if name:
            nodes[name] = node
    tree = Tree(nodes)
    check_parents(tree, path)
    return tree


def _build_ambiguity_error(path: Path) -> BundleFixError:
    return BundleFixError(
        "its members cannot be listed: a name or the target of a symlink contains a line feed",
        where=str(path), hint=UNTRUSTED,
    )  # fmt: skip


def _unescape(name: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\(.)", rb"\1", name, flags=re.DOTALL))


def _build_node(kind: bytes, text: bytes, nodes: dict[str, Node], data: FileSlice) -> Node:
    """Return the node of a definition.

    The fields are time, mode, user and group, then the target of a symlink, or the size and the
    offset in ``data`` of a file. A hard link has only the name of an earlier file.

    Raises:
        ValueError: the definition is invalid.
    """
    if kind == b"L":
        first = _unescape(text)
        target = nodes.get(first)
        if not isinstance(target, File):
            raise ValueError(first)
        return replace(target, hardlink=target.hardlink or first)
    mtime, mode, uid, gid, *rest = text.split(b" ", 4)
    metadata = Metadata(int(mode, 8), int(uid), int(gid), mtime=int(mtime))
    if kind == b"D":
        return Directory(metadata)
    if kind == b"S":
        return Symlink(os.fsdecode(rest[0]), metadata)
    if kind != b"R":
        return Special("device, fifo or socket", metadata)
    size, offset = (int(number) for number in rest[0].split(b" ")[:2])
    if size < 0 or offset < 0 or offset + size > data.size:
        raise ValueError(text)
    return File(FileSlice(data.fd, data.start + offset, size), metadata)


def _compare_names(tree: Tree, path: Path, offset: int) -> None:
    """Raise an error if another list of the members differs.

    The target of a symlink is not escaped in definitions, so a line feed in it could forge some.
    """
    names = {name for name in _list_member_names(path, offset) if name.startswith(LISTED_ROOT)}
    if names != {LISTED_ROOT, *(f"{LISTED_ROOT}/{name}" for name in tree.nodes)}:
        raise _build_ambiguity_error(path)
