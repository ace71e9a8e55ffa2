"""Work of a library that may end its process, done in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import IO

from bundle_fix.subprocesses.forks import kill_fork, start_fork, wait_for_exit

NOTHING, TEXT, RAISED = b"0", b"1", b"2"


class DiedError(Exception):
    """The process ended before its work did; the text says by what."""


def isolated(work: Callable[[], str | None]) -> str | None:
    """What ``work`` returns, whose process may die of an exception of C++ over headers that lie.

    Raises:
        DiedError: it did, or ``work`` raised something.
    """
    process = start_fork(lambda pipe: _tell(work, pipe))
    try:
        told = process.pipe.read()
    except BaseException:
        kill_fork(process)
        raise
    code = wait_for_exit(process)
    if code or not told or told[:1] == RAISED:
        raise DiedError(signal.Signals(-code).name if code < 0 else os.fsdecode(told[1:]))
    return None if told == NOTHING else told[1:].decode("utf-8", "surrogateescape")


def _tell(work: Callable[[], str | None], pipe: IO[bytes]) -> None:
    try:
        found = work()
        mark = TEXT
    except Exception as error:
        found, mark = str(error) or type(error).__name__, RAISED
    pipe.write(NOTHING if found is None else mark + found.encode("utf-8", "surrogateescape"))
