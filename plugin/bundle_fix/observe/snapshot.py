"""What is known of one process at one moment, from ``/proc`` or from a core file."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from msgspec import Struct, field

from bundle_fix.elf.read.structs import Format
from bundle_fix.model.content import Reader
from bundle_fix.observe.memory import ADDRESS_SPACE

DELETED = " (deleted)"
"""The end of the path of a mapped file that has no name any more (the kernel's d_path)."""
VDSO = "[vdso]"
MAX_PARTS = 64
"""Mappings before a part of a file among which its first part is looked for."""


class Aux(IntEnum):
    """Keys of the auxiliary vector (getauxval(3))."""

    NULL = 0
    PHDR = 3
    BASE = 7
    SECURE = 23
    RANDOM = 25
    EXECFN = 31
    SYSINFO_EHDR = 33


class FileMapping(Struct, frozen=True):
    """A part of a file in memory.

    Attributes:
        start: the first address.
        end: the address just past it.
        offset: the offset in the file of the first byte.
        path: the file, as the kernel names it, without symlinks.
        is_executable: whether it contains code.
        is_deleted: whether the file has no name any more: it was removed or replaced.
    """

    start: int
    end: int
    offset: int
    path: str
    is_executable: bool
    is_deleted: bool


class ProcessSnapshot(Struct, frozen=True):
    """A process at one moment.

    Attributes:
        label: the process or the core file, for messages.
        pid: the number of the process; None if the core file does not have it.
        core: the path of the core file; None for a running process.
        layout: class and byte order.
        machine: e_machine.
        program: the path of the program's file, if it is known.
        command: the command line; that of a core file is cut off after 80 bytes.
        signal: the signal that ended it, or None.
        vector: the auxiliary vector.
        mappings: its mapped files, by address.
        memory: its memory.
        environment: its variables that begin with ``LD_``, as they were at the start; None if they
            are unknown.
        root: the directory with the files that it sees; None if they are not on this machine.
        working_directory: its working directory; None if it is unknown.
        remarks: what could not be read, as sentences.
    """

    label: str
    pid: int | None
    core: str | None
    layout: Format
    machine: int
    program: str | None
    command: str
    signal: int | None
    vector: Mapping[int, int]
    mappings: tuple[FileMapping, ...]
    memory: Reader
    environment: Mapping[str, str] | None = None
    root: Path | None = None
    working_directory: str | None = None
    remarks: tuple[str, ...] = field(default=())


class FileMemory(Struct, frozen=True):
    """Memory of a process that may not be read: the bytes of its mapped files instead.

    What the process has written is missing, and so are files that have been deleted.
    """

    root: Path
    mappings: tuple[FileMapping, ...]
    size: int = ADDRESS_SPACE

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`; fewer bytes at the end of a mapping."""
        mapping = find_mapping(self.mappings, offset)
        if mapping is None or mapping.is_deleted or mapping.path == VDSO:
            return b""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(self.root / mapping.path.lstrip("/"), flags)
        except OSError:
            return b""
        try:
            size = min(length, mapping.end - offset)
            return os.pread(fd, size, mapping.offset + offset - mapping.start)
        except OSError:
            return b""
        finally:
            os.close(fd)


def find_mapping(mappings: Sequence[FileMapping], address: int) -> FileMapping | None:
    """Return the mapping that contains ``address``, or None; they are sorted by address."""
    index = _count_before(mappings, address) - 1
    found = mappings[index] if index >= 0 else None
    return found if found is not None and address < found.end else None


def find_header(mappings: Sequence[FileMapping], mapping: FileMapping) -> int | None:
    """Return the address of the first byte of the mapped file, or None if it is not mapped."""
    index = _count_before(mappings, mapping.start)
    for other in reversed(mappings[max(index - MAX_PARTS, 0) : index]):
        if other.path == mapping.path and other.offset == 0:
            return other.start
    return None


def _count_before(mappings: Sequence[FileMapping], address: int) -> int:
    """Return the number of mappings that begin at ``address`` or below it."""
    return bisect_right(mappings, address, key=lambda m: m.start)


def split_deleted(path: str) -> tuple[str, bool]:
    """Return the path of a mapped file, and whether the kernel marks it as deleted."""
    return path.removesuffix(DELETED), path.endswith(DELETED)


def parse_vector(data: bytes, layout: Format) -> dict[int, int]:
    """Return the auxiliary vector: pairs of words up to AT_NULL."""
    found: dict[int, int] = {}
    whole = len(data) - len(data) % layout.dynamic.size
    for key, value in layout.dynamic.iter_unpack(data[:whole]):
        if key == Aux.NULL:
            break
        found.setdefault(key, value)
    return found
