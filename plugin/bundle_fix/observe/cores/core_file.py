"""A core file: the memory and the notes of a process that has ended (core(5))."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import le
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import MAGIC, MAX_HEADER, parse_header
from bundle_fix.elf.read.structs import Format, Header, Segment
from bundle_fix.model.content import FileReader, Reader, read_exactly
from bundle_fix.model.errors import BundleFixError, DamagedElfError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.observe.cores.compressed_core import open_decompressed
from bundle_fix.observe.cores.core_notes import (
    NT_AUXV,
    NT_FILE,
    NT_PRPSINFO,
    NT_PRSTATUS,
    CoreNote,
    MappedRange,
    list_core_notes,
    parse_mapped_files,
    parse_process_info,
    parse_signal,
    read_note,
)
from bundle_fix.observe.memory import DumpedMemory
from bundle_fix.observe.snapshot import (
    VDSO,
    Aux,
    FileMapping,
    ProcessSnapshot,
    parse_vector,
    split_deleted,
)
from bundle_fix.observe.stack import read_environment

TRUNCATED_STREAM = "the compressed core file is truncated"
PN_XNUM = 0xFFFF
"""The value of e_phnum if the number is in sh_info of the first section header (elf(5))."""
MAX_CORE_SEGMENTS = 1 << 19
"""Limit of program headers; Linux allows 65,530 mappings by default (vm.max_map_count)."""
BATCH = 4096
"""Program headers that are read at a time."""


class _Segments(Struct):
    """The program headers of a core file: its notes, and memory in arrays, one item per mapping.

    ``executable`` are the addresses of mappings with code; ``end`` is the size that the file has if
    it is complete.
    """

    notes: list[Segment]
    starts: array[int]
    offsets: array[int]
    sizes: array[int]
    executable: set[int]
    end: int = 0

    def add_segment(self, segment: Segment) -> None:
        self.end = max(self.end, segment.file_end)
        if segment.type == c.PT_NOTE:
            self.notes.append(segment)
        elif segment.type == c.PT_LOAD:
            if segment.flags & c.PF_X:
                self.executable.add(segment.vaddr)
            if segment.filesz:
                self.starts.append(segment.vaddr)
                self.offsets.append(segment.offset)
                self.sizes.append(segment.filesz)

    def sort_memory(self) -> None:
        """Sort the arrays by address; the kernel and gdb write them in this order."""
        if all(map(le, self.starts, self.starts[1:])):
            return
        order = sorted(range(len(self.starts)), key=self.starts.__getitem__)
        self.starts, self.offsets, self.sizes = (
            array("Q", map(values.__getitem__, order))
            for values in (self.starts, self.offsets, self.sizes)
        )


@contextmanager
def open_core(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[ProcessSnapshot]:
    """Read a core file, which may be compressed; its memory can be read until the context ends.

    Raises:
        BundleFixError: it cannot be read, or is not a core file.
    """
    with open_decompressed(path, limits, progress) as (file, is_truncated):
        size = file.seek(0, os.SEEK_END)
        snapshot = read_core(FileReader(file.fileno(), 0, size), str(path))
        remarks = (TRUNCATED_STREAM, *snapshot.remarks) if is_truncated else snapshot.remarks
        yield replace(snapshot, remarks=remarks)


def read_core(file: Reader, where: str) -> ProcessSnapshot:
    """Return what a core file says of its process.

    Args:
        file: the core file, decompressed.
        where: its path, for messages.

    Raises:
        BundleFixError: it is not a core file, or its headers are damaged.
    """
    layout, header = _read_header(file, where)
    segments = _read_core_segments(file, layout, header, where)
    notes = _find_notes(file, layout, segments.notes)
    info = parse_process_info(read_note(file, notes.get(NT_PRPSINFO)), layout)
    raw_vector = read_note(file, notes.get(NT_AUXV))
    vector = parse_vector(raw_vector, layout)
    ranges = list(parse_mapped_files(read_note(file, notes.get(NT_FILE)), layout))
    memory = DumpedMemory(file, segments.starts, segments.offsets, segments.sizes)
    mappings = _build_mappings(ranges, segments.executable)
    return ProcessSnapshot(
        label=f"core {where}",
        pid=info.pid if info is not None else None,
        core=where,
        layout=layout,
        machine=header.machine,
        program=_find_program(vector, mappings),
        command=info.command or info.name if info is not None else "",
        signal=parse_signal(read_note(file, notes.get(NT_PRSTATUS)), layout),
        vector=vector,
        mappings=_add_vdso(mappings, vector),
        memory=memory,
        environment=read_environment(memory, layout, vector, raw_vector),
        remarks=tuple(_describe_gaps(file, segments, notes)),
    )


def _read_header(file: Reader, where: str) -> tuple[Format, Header]:
    start = file.pread(0, MAX_HEADER)
    if start[:4] != MAGIC:
        raise BundleFixError("not a core file: it is not an ELF file", where=where)
    try:
        layout, header = parse_header(start)
    except DamagedElfError as error:
        raise BundleFixError("the ELF header is damaged or truncated", where=where) from error
    if header.type != c.ET_CORE:
        raise BundleFixError(
            "not a core file", where=where,
            hint="'bundle-fix check' and 'bundle-fix tree' read programs and libraries",
        )  # fmt: skip
    return layout, header


def _read_core_segments(file: Reader, layout: Format, header: Header, where: str) -> _Segments:
    count = _count_segments(file, layout, header)
    if count > MAX_CORE_SEGMENTS:
        raise BundleFixError(
            f"it has {count:,} program headers; the limit is {MAX_CORE_SEGMENTS:,}", where=where
        )
    found = _Segments([], array("Q"), array("Q"), array("Q"), set())
    size = layout.segment.size
    for first in range(0, count, BATCH):
        table = file.pread(header.phoff + first * size, min(BATCH, count - first) * size)
        for at in range(0, len(table) - size + 1, size):
            found.add_segment(layout.unpack_segment(table[at : at + size]))
    found.sort_memory()
    return found


def _count_segments(file: Reader, layout: Format, header: Header) -> int:
    if header.phnum != PN_XNUM:
        return header.phnum
    data = read_exactly(file, header.shoff, layout.section.size) if header.shoff else None
    # sh_info is the field after sh_link.
    return int(layout.section.unpack(data)[7]) if data is not None else PN_XNUM


def _find_notes(file: Reader, layout: Format, segments: Sequence[Segment]) -> dict[int, CoreNote]:
    """Return the first note of each type that is needed."""
    wanted = {NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE}
    found: dict[int, CoreNote] = {}
    for segment in segments[:BATCH]:
        for note in list_core_notes(file, layout, segment):
            if note.type in wanted:
                found.setdefault(note.type, note)
            if len(found) == len(wanted):
                return found
    return found


def _build_mappings(
    ranges: Sequence[MappedRange], executable: Collection[int]
) -> tuple[FileMapping, ...]:
    mappings = []
    for start, end, offset, text in ranges:
        path, is_deleted = split_deleted(text)
        mappings.append(FileMapping(start, end, offset, path, start in executable, is_deleted))
    return tuple(sorted(mappings, key=lambda m: m.start))


def _find_program(vector: Mapping[int, int], mappings: Sequence[FileMapping]) -> str | None:
    table = vector.get(Aux.PHDR, 0)
    return next((m.path for m in mappings if m.start <= table < m.end), None)


def _add_vdso(
    mappings: tuple[FileMapping, ...], vector: Mapping[int, int]
) -> tuple[FileMapping, ...]:
    """Add the kernel's own object, which NT_FILE does not list."""
    start = vector.get(Aux.SYSINFO_EHDR)
    if start is None:
        return mappings
    own = FileMapping(start, start + 4096, 0, VDSO, is_executable=True, is_deleted=False)
    return tuple(sorted((*mappings, own), key=lambda m: m.start))


def _describe_gaps(
    file: Reader, segments: _Segments, notes: Mapping[int, CoreNote]
) -> Iterator[str]:
    if segments.end > file.size:
        yield f"the core file is truncated: {file.size:,} of {segments.end:,} bytes"
    if NT_FILE not in notes:
        yield "the core file has no list of mapped files (NT_FILE): paths are those of the link map"
