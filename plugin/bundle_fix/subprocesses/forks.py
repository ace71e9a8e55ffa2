"""Forked child processes: each does one piece of work and writes its result into a pipe.

All work in other processes goes through `start_fork`: edits of ELF files, calls of a library that
may abort, and the check of many artifacts.
"""

from __future__ import annotations

import math
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from typing import IO

from msgspec import Struct

from bundle_fix.model.content import CHUNK
from bundle_fix.model.errors import describe_process_limit
from bundle_fix.subprocesses.locks import locks
from bundle_fix.subprocesses.null_device import open_null_device
from bundle_fix.subprocesses.processors import count_cores

FATAL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a child at once; only the parent removes temporary files and reports the end."""
PR_SET_PDEATHSIG = 1
"""Option of prctl(2), from linux/prctl.h: the signal that a process gets when its parent ends."""
WORTH_FORKING = 16 << 20
"""Bytes to read from which a second process saves time; below that, fork(2) costs more."""


children: set[int] = set()
"""The children that have not been reaped: the number of another one may be in use again."""


class ForkedProcess(Struct, frozen=True):
    """A running child process, and the pipe that it writes to."""

    pid: int
    pipe: BufferedReader


def start_fork(work: Callable[[IO[bytes]], None]) -> ForkedProcess:
    """Start a child that runs ``work`` and exits; end it with `wait_for_exit` or `kill_fork`.

    The child ends with this process, however that ends.

    Args:
        work: Gets the pipe to write to. Its output to stderr is discarded; an exception becomes
            exit code 1.

    Raises:
        OSError: The limit of processes or open files is reached.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    child = -1
    try:
        # Without this, a signal that arrives in the child before `die_with_parent` would run the
        # parent's handler, and unwind the parent's stack with all its clean-up.
        with block_signals():
            child = os.fork()
            if child == 0:
                _run_child(work, reading, writing, parent)
    except BaseException as error:
        os.close(reading)
        os.close(writing)
        if child > 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if isinstance(error, BlockingIOError):
            reason = f"cannot start a process: {describe_process_limit()}"
            raise OSError(error.errno, reason) from error
        raise
    os.close(writing)
    children.add(child)
    return ForkedProcess(child, os.fdopen(reading, "rb"))


@contextmanager
def block_signals() -> Iterator[None]:
    """Block termination signals, so that a started child is registered before one arrives."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FATAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_worth_forking(size: int) -> bool:
    """Return whether a second process saves time on work that reads ``size`` bytes."""
    return count_cores() > 1 and size >= WORTH_FORKING


def _run_child(work: Callable[[IO[bytes]], None], reading: int, writing: int, parent: int) -> None:
    """Run the work and exit, without any clean-up of the parent's."""
    status = 1
    try:
        for fd in (reading, *locks):
            os.close(fd)
        locks.clear()
        children.clear()
        die_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FATAL_SIGNALS)
        # libstdc++ prints "terminate called ..." if LIEF aborts; the parent reports it instead.
        open_null_device(2)
        with os.fdopen(writing, "wb") as pipe:
            work(pipe)
        status = 0
    finally:
        os._exit(status)


def die_with_parent(parent: int) -> None:
    """End this process when ``parent`` ends, or at a termination signal; write no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in FATAL_SIGNALS:
        # nohup(1) and a shell's `&` ignore signals; children of the command ignore them as well.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # A Python that was built without libffi has no ctypes; there, a child ends with its work.
    with suppress(ImportError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # The parent may have ended before prctl().
    if os.getppid() != parent:
        os._exit(1)


def wait_for_output(processes: Sequence[ForkedProcess], seconds: float) -> list[ForkedProcess]:
    """Return the children that have written something or closed their pipe, after ``seconds``."""
    poll = select.poll()
    for process in processes:
        poll.register(process.pipe, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(math.ceil(max(0.0, seconds) * 1000))}
    return [process for process in processes if process.pipe.fileno() in ready]


def wait_for_exit(process: ForkedProcess) -> int:
    """Return the exit code of a child that has closed its pipe, or minus the signal's number."""
    # A signal between the two steps would leave a child that `kill_fork` kills again.
    with block_signals():
        process.pipe.close()
        _, status = os.waitpid(process.pid, 0)
        children.discard(process.pid)
    return os.waitstatus_to_exitcode(status)


def kill_fork(process: ForkedProcess) -> None:
    """Kill a child with the children that it forked, and reap it, unless it is reaped already."""
    with block_signals():
        if process.pid not in children:
            return
        os.kill(process.pid, signal.SIGKILL)
        # The kernel kills grandchildren a moment later, and they may write files until then. The
        # pipe is open as long as one of them lives.
        while process.pipe.read(CHUNK):
            pass
        wait_for_exit(process)
