"""The notes of a core file that say what the process was (core(5), Linux's fs/binfmt_elf.c)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct as Layout
from typing import NamedTuple

from bundle_fix.elf.read.structs import Format, Segment
from bundle_fix.model.content import Reader, read_exactly

NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE = 1, 3, 6, 0x46494C45
MAX_NOTES = 1 << 20
"""Limit of notes: a thread has about 5."""
MAX_CONTENT = 16 << 20
"""Limit of one note in bytes, as Linux limits NT_FILE (kernel.core_file_note_size_limit)."""
MAX_FILES = 1 << 18
"""Limit of the mapped files that are read; Linux allows 65,530 mappings by default."""
NAME_SIZE, ARGUMENTS_SIZE = 16, 80
"""Bytes of pr_fname and pr_psargs, which end struct elf_prpsinfo on every machine."""


class CoreNote(NamedTuple):
    """The place of a note's content in the core file."""

    type: int
    offset: int
    size: int


class ProcessInfo(NamedTuple):
    """The number, the name and the command line of the process (NT_PRPSINFO)."""

    pid: int
    name: str
    command: str


class MappedRange(NamedTuple):
    """One line of NT_FILE; ``offset`` is in bytes."""

    start: int
    end: int
    offset: int
    path: str


def list_core_notes(file: Reader, layout: Format, segment: Segment) -> Iterator[CoreNote]:
    """Yield the notes of a PT_NOTE segment; contents are not read, as threads have many of them."""
    header = Layout(layout.mark + "III")
    at, end = segment.offset, min(segment.file_end, file.size)
    for _ in range(MAX_NOTES):
        data = read_exactly(file, at, header.size)
        if data is None or at + header.size > end:
            return
        name_size, size, kind = header.unpack(data)
        content = at + header.size + name_size + -name_size % 4
        if content + size > end:
            return
        # Other owners, such as LINUX, use the same numbers for registers.
        if file.pread(at + header.size, min(name_size, 5)) == b"CORE\0":
            yield CoreNote(kind, content, size)
        at = content + size + -size % 4


def read_note(file: Reader, note: CoreNote | None) -> bytes:
    """Return the content of a note, up to `MAX_CONTENT` bytes; none for None."""
    return b"" if note is None else file.pread(note.offset, min(note.size, MAX_CONTENT))


def parse_process_info(data: bytes, layout: Format) -> ProcessInfo | None:
    """Return what NT_PRPSINFO says, or None if it is too short.

    The fields before pr_fname differ from machine to machine; four numbers stand right before it.
    """
    name_at = len(data) - ARGUMENTS_SIZE - NAME_SIZE
    if name_at < 16:
        return None
    (pid,) = Layout(layout.mark + "i").unpack_from(data, name_at - 16)
    name = data[name_at : name_at + NAME_SIZE].partition(b"\0")[0]
    command = data[-ARGUMENTS_SIZE:].partition(b"\0")[0]
    return ProcessInfo(pid, os.fsdecode(name), os.fsdecode(command).strip())


def parse_signal(data: bytes, layout: Format) -> int | None:
    """Return the signal that ended the process: pr_cursig of the first thread's NT_PRSTATUS."""
    if len(data) < 14:
        return None
    return Layout(layout.mark + "h").unpack_from(data, 12)[0] or None


def parse_mapped_files(data: bytes, layout: Format) -> Iterator[MappedRange]:
    """Yield the mapped files of NT_FILE, as far as the note is complete.

    It has a count and the size of a page, a triple of words for each file, then their names.
    """
    word = layout.word
    if len(data) < 2 * word.size:
        return
    (count,), (page,) = word.unpack_from(data, 0), word.unpack_from(data, word.size)
    triple = Layout(word.format[:1] + word.format[1:] * 3)
    count = min(count, MAX_FILES, (len(data) - 2 * word.size) // (triple.size + 1))
    names_at = 2 * word.size + count * triple.size
    paths: dict[bytes, str] = {}
    for index in range(count):
        end = data.find(b"\0", names_at)
        if end < 0:
            return
        name, names_at = data[names_at:end], end + 1
        start, stop, offset = triple.unpack_from(data, 2 * word.size + index * triple.size)
        yield MappedRange(start, stop, offset * page, paths.setdefault(name, os.fsdecode(name)))
