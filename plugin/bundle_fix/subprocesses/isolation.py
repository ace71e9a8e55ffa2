"""Calls of a library that may end its process, each made in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import IO

from bundle_fix.subprocesses.forks import kill_fork, start_fork, wait_for_exit

NOTHING, TEXT, RAISED = b"0", b"1", b"2"
"""The first byte of an answer: None, a text, or the text of an exception."""


class DiedError(Exception):
    """The process ended before its work did; the text names the signal or the exception."""


def run_isolated(work: Callable[[], str | None]) -> str | None:
    """Return the result of ``work``, which runs in a forked process.

    A C++ library may end that process with an exception that nothing catches.

    Raises:
        DiedError: the process ended without a result, or ``work`` raised an exception.
    """
    process = start_fork(lambda pipe: _write_answer(work, pipe))
    try:
        answer = process.pipe.read()
    except BaseException:
        kill_fork(process)
        raise
    code = wait_for_exit(process)
    if code or not answer or answer[:1] == RAISED:
        raise DiedError(signal.Signals(-code).name if code < 0 else os.fsdecode(answer[1:]))
    return None if answer == NOTHING else answer[1:].decode("utf-8", "surrogateescape")


def _write_answer(work: Callable[[], str | None], pipe: IO[bytes]) -> None:
    try:
        result = work()
        mark = TEXT
    except Exception as error:
        result, mark = str(error) or type(error).__name__, RAISED
    pipe.write(NOTHING if result is None else mark + result.encode("utf-8", "surrogateescape"))
