"""A running process, read from ``/proc/PID`` without stopping it (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle_fix.elf.read.parser import MAX_HEADER, parse_header
from bundle_fix.elf.read.structs import Format, Header
from bundle_fix.model.errors import BundleFixError, DamagedElfError, build_os_error
from bundle_fix.model.printable import decode_octal_escapes
from bundle_fix.observe.memory import ProcessMemory
from bundle_fix.observe.snapshot import (
    VDSO,
    FileMapping,
    FileMemory,
    ProcessSnapshot,
    parse_vector,
    split_deleted,
)
from bundle_fix.observe.stack import MAX_ENVIRONMENT, parse_environment

PROC = Path("/proc")
MAX_MAPS = 256 << 20
"""Limit of ``/proc/PID/maps`` in bytes."""
MAX_COMMAND = 4096
PERMISSION_HINT = "run as the user of the process, or as root (CAP_SYS_PTRACE)"
NO_MEMORY = (
    "no permission to read the memory of the process (run as root, or with CAP_SYS_PTRACE, or set"
    " kernel.yama.ptrace_scope to 0): objects are its mapped files with code, in the order of"
    " addresses"
)


class NoProcessError(BundleFixError):
    """The process does not exist, has ended, or is a thread of the kernel."""


def list_process_ids() -> list[int]:
    """Return the numbers of all processes."""
    return sorted(int(path.name) for path in PROC.iterdir() if path.name.isdigit())


@contextmanager
def open_process(pid: int) -> Iterator[ProcessSnapshot]:
    """Read the process ``pid``; its memory can be read until the context ends.

    Raises:
        NoProcessError: it does not exist, or has no memory.
        BundleFixError: it may not be read.
    """
    directory = PROC / str(pid)
    fd = None
    try:
        with _explain_errors(f"process {pid}"):
            maps = _read_limited(directory / "maps", MAX_MAPS)
            if not maps:
                raise NoProcessError(
                    "it has no memory: it is a thread of the kernel, or has ended",
                    where=f"process {pid}",
                )
            fd = _open_memory(directory)
            snapshot = _build_snapshot(pid, directory, maps, fd)
        yield snapshot
    finally:
        if fd is not None:
            os.close(fd)


@contextmanager
def _explain_errors(label: str) -> Iterator[None]:
    """Raise the errors of ``/proc`` again as errors for the user."""
    try:
        yield
    except PermissionError as error:
        raise BundleFixError(
            "no permission to read its memory map", where=label, hint=PERMISSION_HINT
        ) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NoProcessError("no such process, or it has ended", where=label) from error
    except OSError as error:
        raise build_os_error("cannot read it", error, where=label) from error


def _open_memory(directory: Path) -> int | None:
    try:
        return os.open(directory / "mem", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        return None


def _read_limited(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)


def _build_snapshot(pid: int, directory: Path, maps: bytes, fd: int | None) -> ProcessSnapshot:
    mappings = tuple(_parse_maps(maps))
    header, layout = _read_program_header(directory / "exe", f"process {pid}")
    command = _read_limited(directory / "cmdline", MAX_COMMAND).split(b"\0")
    variables = parse_environment(_read_limited(directory / "environ", MAX_ENVIRONMENT))
    return ProcessSnapshot(
        label=f"process {pid}",
        pid=pid,
        core=None,
        layout=layout,
        machine=header.machine,
        program=split_deleted(str((directory / "exe").readlink()))[0],
        command=os.fsdecode(b" ".join(command)).strip(),
        signal=None,
        vector=parse_vector(_read_limited(directory / "auxv", MAX_COMMAND), layout),
        mappings=mappings,
        memory=FileMemory(directory / "root", mappings) if fd is None else ProcessMemory(fd),
        environment=variables,
        root=directory / "root",
        working_directory=str((directory / "cwd").readlink()),
        remarks=(NO_MEMORY,) if fd is None else (),
    )


def _read_program_header(path: Path, where: str) -> tuple[Header, Format]:
    try:
        layout, header = parse_header(_read_limited(path, MAX_HEADER))
    except DamagedElfError as error:
        raise BundleFixError("its program is not an ELF file", where=where) from error
    return header, layout


def _parse_maps(maps: bytes) -> Iterator[FileMapping]:
    """Yield the mapped files of ``/proc/PID/maps``, and the kernel's own object."""
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or not (fields[5].startswith(b"/") or fields[5] == VDSO.encode()):
            continue
        start, _, end = fields[0].partition(b"-")
        path, is_deleted = split_deleted(decode_octal_escapes(fields[5]))
        yield FileMapping(
            int(start, 16), int(end, 16), int(fields[2], 16), path, b"x" in fields[1], is_deleted
        )
