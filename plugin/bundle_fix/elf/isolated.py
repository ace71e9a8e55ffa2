"""Work of a library that may end its process, done in a process of its own."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable

NOTHING, TEXT = b"0", b"1"


class DiedError(Exception):
    """The process ended before its work did; the text says by what."""


def isolated(work: Callable[[], str | None]) -> str | None:
    """What ``work`` returns, whose process may die of an exception of C++ over headers that lie.

    Raises:
        DiedError: it did, or ``work`` raised something.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, reading, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitpid(child, 0)[1]
    if status or not told:
        code = os.waitstatus_to_exitcode(status)
        raise DiedError(signal.Signals(-code).name if code < 0 else os.fsdecode(told[1:]))
    return None if told == NOTHING else told[1:].decode("utf-8", "surrogateescape")


def _work(work: Callable[[], str | None], reading: int, writing: int) -> None:
    """Do the work and end, whatever comes of it: nothing of the parent is tidied up here."""
    status = 1
    try:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # What the C++ library says when it ends a process is nothing for a user.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            found = work()
            status = 0
        except Exception as error:
            found = str(error) or type(error).__name__
        told = NOTHING if found is None else TEXT + found.encode("utf-8", "surrogateescape")
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(told)
    finally:
        os._exit(status)
