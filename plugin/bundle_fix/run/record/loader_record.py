"""What the loader records of itself with ``LD_DEBUG=files,libs`` (ld.so(8)).

Every glibc has these messages (elf/dl-load.c, elf/dl-open.c, elf/dl-init.c), so an audit library,
which needs a compiler for each machine, would show nothing more. musl's loader has no messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

RECORD_DIRECTORY = "/.bundle-fix"
"""The directory in the sandbox in which the loader writes its record."""
VARIABLES = {"LD_DEBUG": "files,libs", "LD_DEBUG_OUTPUT": f"{RECORD_DIRECTORY}/loader"}
"""The variables that make the loader write its record, one file per process."""
MAX_RECORD = 256 << 20
"""Bytes of all records that are read; a JVM writes 100 KiB."""
MAX_LINE = 1 << 16
"""Bytes of one line; a search path with all its subdirectories has 4 KiB."""
MAX_TRIED = 1000
"""Files tried in one search that are recorded."""
LINE = re.compile(r"\s*(\d+):\t(.*)")
REQUEST = re.compile(r"file=(.*) \[\d+\];  (needed|dynamically loaded) by (.*) \[\d+\]")
TRIED = re.compile(r"  trying file=(.*)")
MAPPED = re.compile(r"file=(.*) \[\d+\];  generating link map")
STARTED = re.compile(r"initialize program: (.*)")


class LoadCall(Enum):
    """Why an object was loaded; the values are codes for JSON."""

    NEEDED = "needed"
    DLOPEN = "dlopen"


class LoadRequest(Struct, frozen=True):
    """One search of the loader.

    Attributes:
        name: the name that it looked for, or a path.
        requester: the object that asked, as the loader prints it; for a program its argv[0].
        call: why it asked.
        program: argv[0] of the process.
        at_start: whether the process had not reached the entry point of its program.
        tried: the files that it tried.
        path: the file that it mapped; None if there is none, or if it was mapped before.
    """

    name: str
    requester: str
    call: LoadCall
    program: str
    at_start: bool
    tried: tuple[str, ...] = ()
    path: str | None = None


class _Budget(Struct):
    """The bytes that may still be read."""

    left: int


class _ProcessState(Struct):
    """The state of one process while its record is read."""

    program: str
    request: LoadRequest | None = None
    is_started: bool = False


def read_loader_record(directory: Path) -> tuple[list[LoadRequest], bool]:
    """Return the requests in all record files of a directory, each only once.

    Returns:
        The requests, and whether a part of the record was left out because of `MAX_RECORD`.
    """
    budget = _Budget(MAX_RECORD)
    found: dict[LoadRequest, None] = {}
    # The program may have written other files there, or replaced these by pipes.
    files = [p for p in directory.glob("loader.*") if p.is_file() and not p.is_symlink()]
    for file in sorted(files, key=lambda path: (len(path.name), path.name)):
        found.update(dict.fromkeys(parse_loader_record(_read_lines(file, budget))))
    return list(found), budget.left <= 0


def _read_lines(file: Path, budget: _Budget) -> Iterator[str]:
    """Yield the lines of a file until the budget is used up."""
    with file.open("rb") as stream:
        while budget.left > 0 and (line := stream.readline(MAX_LINE)):
            budget.left -= len(line)
            yield line.rstrip(b"\n").decode("utf-8", "surrogateescape")


def parse_loader_record(lines: Iterable[str]) -> Iterator[LoadRequest]:
    """Yield the requests in the lines of one record; forked processes write into the same one."""
    states: dict[str, _ProcessState] = {}
    first = ""
    for line in lines:
        match = LINE.match(line)
        if match is None:
            continue
        number, text = match.groups()
        state = states.get(number)
        if (asked := REQUEST.match(text)) is not None:
            if state is not None and state.request is not None:
                yield state.request
            first = first or number
            states[number] = _start_request(state, states.get(first), asked)
        elif state is None:
            continue
        elif STARTED.match(text):
            state.is_started = True
        elif state.request is None:
            continue
        elif (tried := TRIED.match(text)) is not None:
            if len(state.request.tried) < MAX_TRIED:
                state.request = replace(state.request, tried=(*state.request.tried, tried[1]))
        elif (mapped := MAPPED.match(text)) is not None:
            last = (mapped[1], *state.request.tried)[-1]
            yield replace(state.request, path=mapped[1] if "/" in mapped[1] else last)
            state.request = None
    yield from (state.request for state in states.values() if state.request is not None)


def _start_request(
    state: _ProcessState | None, parent: _ProcessState | None, asked: re.Match[str]
) -> _ProcessState:
    """Return the state after a request, a new one if another program was executed.

    A program needs libraries only when it starts: if it asks again, it was executed again. A
    process that opens a library first is a fork of ``parent``, whose program it goes on with.
    """
    name, how, requester = asked.groups()
    call = LoadCall.NEEDED if how == "needed" else LoadCall.DLOPEN
    if call is LoadCall.DLOPEN:
        state = state or _ProcessState((parent or _ProcessState(requester)).program)
        state.is_started = True
    elif state is None or (state.is_started and not _may_be_library(requester, state)):
        state = _ProcessState(requester)
    state.request = LoadRequest(name, requester, call, state.program, at_start=not state.is_started)
    return state


def _may_be_library(requester: str, state: _ProcessState) -> bool:
    return requester != state.program and ".so" in requester
