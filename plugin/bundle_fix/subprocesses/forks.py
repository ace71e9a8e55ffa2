"""Processes forked for one piece of work, which tell what they find through a pipe."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import IO, TypeVar

from msgspec import Struct

from bundle_fix.model.content import CHUNK
from bundle_fix.subprocesses.processors import count_cores, limit_cores

T = TypeVar("T")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a forked process at once; who started it answers for all."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when the one that started it ends."""
WORTH = 16 << 20
"""Bytes to go through from which on a second process is done before this one would be."""
locks: set[int] = set()
"""Descriptors with locks that are to go when this process does: what it forks closes them first."""


class ForkedProcess(Struct, frozen=True):
    """A process at work, and the pipe on which it tells what it finds."""

    pid: int
    pipe: IO[bytes]


def start_fork(work: Callable[[IO[bytes]], None]) -> ForkedProcess:
    """Start a process that does ``work`` and ends; end it with `wait_for_exit` or `kill_fork`.

    Args:
        work: is given the pipe that it writes to. What it prints to stderr is lost, and what it
            raises is its exit status 1.

    Raises:
        OSError: there may be no more processes or open files.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if child == 0:
        _run_child(work, reading, writing, parent)
    os.close(writing)
    return ForkedProcess(child, os.fdopen(reading, "rb"))


def is_worth_forking(size: int) -> bool:
    """Whether a second process helps with what goes through ``size`` bytes."""
    return count_cores() > 1 and size >= WORTH


@contextmanager
def run_in_subprocess(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begin ``work`` in a process of its own, which lasts no longer than the context.

    Args:
        work: makes what can be pickled, and changes nothing.

    Returns:
        What waits for what ``work`` made. Where that process could not be had, or did not tell,
        the work is done here, and raises here what it raises.
    """
    try:
        running = start_fork(lambda pipe: _send_result(work, pipe))
    except OSError:
        # At the limit of processes or of memory.
        yield work
        return

    @cache
    def told() -> T:
        try:
            found: T = pickle.load(running.pipe)  # noqa: S301 (a fork of this process)
        except (EOFError, pickle.UnpicklingError):
            found = work()
        return found

    try:
        yield told
    finally:
        kill_fork(running)


def _send_result(work: Callable[[], T], pipe: IO[bytes]) -> None:
    # The processor that this one has is the other's.
    limit_cores(count_cores())
    pickle.dump(work(), pipe)


def _run_child(work: Callable[[IO[bytes]], None], reading: int, writing: int, parent: int) -> None:
    """Do the work and end, whatever comes of it: nothing of the parent is tidied up here."""
    status = 1
    try:
        for lock in (reading, *locks):
            os.close(lock)
        locks.clear()
        die_with_parent(parent)
        # A C++ library that ends the process over headers that lie says so on stderr: nothing for
        # a user.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writing, "wb") as pipe:
            work(pipe)
        status = 0
    finally:
        os._exit(status)


def die_with_parent(parent: int) -> None:
    """End this process by the signals that end ``parent``, and when the kernel says it is gone.

    However it ends, it leaves no core file.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in ENDING:
        # What nohup or a shell's `&` has the command ignore, its workers ignore as well.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # A Python that was built without libffi has no ctypes: then it ends with its work.
    with suppress(ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def wait_for_exit(done: ForkedProcess) -> int:
    """The exit code of a process that has told everything; the negative signal that ended it."""
    done.pipe.close()
    return os.waitstatus_to_exitcode(os.waitpid(done.pid, 0)[1])


def kill_fork(running: ForkedProcess) -> None:
    """End a process whatever it is at, with those that it forked, and leave no zombie."""
    os.kill(running.pid, signal.SIGKILL)
    # Those end a moment later, and may write files until then: the pipe is open as long as one is.
    while running.pipe.read(CHUNK):
        pass
    wait_for_exit(running)
