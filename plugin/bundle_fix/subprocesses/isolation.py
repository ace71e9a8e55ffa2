"""Calls of a library that may end its process, each made in a process of its own, with limits."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bundle_fix.subprocesses.forks import kill_fork, start_fork, wait_for_exit, wait_for_output
from bundle_fix.subprocesses.signal_names import get_signal_name

NOTHING, TEXT, RAISED, NO_MEMORY = b"0", b"1", b"2", b"3"
"""The first byte of an answer: None, a text, the text of an exception, or a lack of memory."""
STATM = Path("/proc/self/statm")
"""The size of this process's address space in pages comes first (proc(5))."""


class DiedError(Exception):
    """The process ended before its work did; the text names the signal or the exception."""


class LimitReachedError(Exception):
    """The process reached a limit, which the text names with its number."""


def run_isolated(work: Callable[[], str | None], memory: int, seconds: float) -> str | None:
    """Return the result of ``work``, which runs in a forked process.

    A C++ library may end that process with an exception that nothing catches.

    Args:
        work: returns a text or None.
        memory: limit of the memory that the process may allocate, in bytes.
        seconds: limit of its time.

    Raises:
        DiedError: the process ended without a result, or ``work`` raised an exception.
        LimitReachedError: the process reached one of its limits.
        OSError: the limit of processes or open files is reached.
    """
    process = start_fork(lambda pipe: _write_answer(work, memory, pipe))
    try:
        in_time = bool(wait_for_output([process], seconds))
        answer = process.pipe.read() if in_time else b""
    except BaseException:
        kill_fork(process)
        raise
    if not in_time:
        kill_fork(process)
        raise LimitReachedError(f"the limit of {seconds:g} seconds is reached")
    code = wait_for_exit(process)
    if answer[:1] == NO_MEMORY:
        raise LimitReachedError(f"the limit of {memory >> 20} MiB of memory is reached")
    if code or not answer or answer[:1] == RAISED:
        raise DiedError(get_signal_name(-code) if code < 0 else os.fsdecode(answer[1:]))
    return None if answer == NOTHING else answer[1:].decode("utf-8", "surrogateescape")


def _write_answer(work: Callable[[], str | None], memory: int, pipe: IO[bytes]) -> None:
    _limit_memory(memory)
    try:
        result = work()
        mark = TEXT
    except MemoryError:
        result, mark = "", NO_MEMORY
    except Exception as error:
        result, mark = str(error) or type(error).__name__, RAISED
    pipe.write(NOTHING if result is None else mark + result.encode("utf-8", "surrogateescape"))


def _limit_memory(size: int) -> None:
    """Let this process allocate ``size`` bytes more than it has."""
    pages = int(STATM.read_text().split()[0]) if STATM.exists() else 0
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = pages * resource.getpagesize() + size
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
