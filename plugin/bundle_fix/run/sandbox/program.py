"""A program that runs in a sandbox for a limited time."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

import msgspec
from msgspec.structs import replace

from bundle_fix.model.errors import BundleFixError
from bundle_fix.run.sandbox import system_calls as calls
from bundle_fix.run.sandbox.bubblewrap import PROBE, build_bubblewrap_command
from bundle_fix.run.sandbox.chroot import NOBODY, enter_chroot
from bundle_fix.run.sandbox.command import Command, Isolation, ProgramEnd, Sandbox
from bundle_fix.run.sandbox.namespaces import enter_namespaces, enter_root
from bundle_fix.subprocesses.forks import (
    ForkedProcess,
    die_with_parent,
    kill_fork,
    start_fork,
    wait_for_exit,
    wait_for_output,
)

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
PROBE_SECONDS = 10


def choose_isolation(*, network: bool) -> Isolation:
    """Return the first means that works here.

    Raises:
        BundleFixError: None works.
    """
    if _find_bubblewrap() and _works_in_child(_exec_bubblewrap):
        return Isolation.BUBBLEWRAP
    if _works_in_child(enter_namespaces):
        return Isolation.NAMESPACES
    if os.geteuid() == 0 and network:
        return Isolation.CHROOT
    hint = "install bubblewrap, or allow user namespaces (sysctl kernel.unprivileged_userns_clone)"
    if os.geteuid() == 0:
        hint = "add --network: a chroot cannot disconnect the network"
    raise BundleFixError("this machine does not permit namespaces (unshare)", hint=hint)


def _find_bubblewrap() -> str:
    return shutil.which("bwrap") or ""


def _works_in_child(work: Callable[[], None]) -> bool:
    process = start_fork(lambda _: work())
    try:
        return bool(wait_for_output([process], PROBE_SECONDS)) and wait_for_exit(process) == 0
    finally:
        kill_fork(process)


def _exec_bubblewrap() -> None:
    os.execvp(PROBE[0], PROBE)  # noqa: S606 (the arguments are a list)


class RunningProgram:
    """A program in a sandbox."""

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process

    def is_running(self, seconds: float) -> bool:
        """Return whether the program still runs after ``seconds``, or when it ends before."""
        return not wait_for_output([self._process], seconds)

    def wait_for_end(self) -> ProgramEnd:
        """Return how the program ended."""
        data = self._process.pipe.read()
        wait_for_exit(self._process)
        if not data:
            return ProgramEnd(error="the process that started it was killed")
        return msgspec.json.decode(data, type=ProgramEnd)


@contextmanager
def start_program(sandbox: Sandbox, command: Command) -> Iterator[RunningProgram]:
    """Start a program; it is killed, with all its children, when the context ends."""
    sys.stderr.flush()
    # The fork discards its own stderr, which may be the output.
    output = os.dup(command.output)
    try:
        own = replace(command, output=output)
        process = start_fork(lambda pipe: _run_isolated(sandbox, own, pipe))
    finally:
        os.close(output)
    try:
        yield RunningProgram(process)
    finally:
        kill_fork(process)


def _run_isolated(sandbox: Sandbox, command: Command, pipe: IO[bytes]) -> None:
    """Enter the sandbox, run the command and write its `ProgramEnd`."""
    try:
        if sandbox.isolation is Isolation.NAMESPACES:
            enter_namespaces(network=sandbox.network)
            # The first process of a PID namespace: the kernel kills all others when it ends.
            child = os.fork()
            if child:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
            die_with_parent(0)
            enter_root(sandbox)
            if not sandbox.network:
                calls.start_loopback()
        outcome = _supervise(sandbox, command)
    except OSError as error:
        outcome = ProgramEnd(error=error.strerror or str(error))
    pipe.write(msgspec.json.encode(outcome))
    pipe.flush()
    if sandbox.isolation is Isolation.NAMESPACES:
        os._exit(0)


def _supervise(sandbox: Sandbox, command: Command) -> ProgramEnd:
    """Run the command in a child; stop it when its time is over."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    error_pipe, error_end = os.pipe()
    child = os.fork()
    if child == 0:
        _exec_command(sandbox, command, error_end)
    os.close(error_end)
    deadline, stopped = time.monotonic() + command.seconds, False
    while True:
        with suppress(ChildProcessError):
            done, status = os.waitpid(-1, os.WNOHANG)
            if done == child:
                break
            if done:
                continue
        left = deadline - time.monotonic()
        if left <= 0:
            os.kill(child, signal.SIGKILL if stopped else signal.SIGTERM)
            deadline, stopped = time.monotonic() + GRACE, True
        signal.sigtimedwait([signal.SIGCHLD], max(0.0, left))
    error = os.read(error_pipe, 1 << 12).decode("utf-8", "replace")
    if sandbox.isolation is Isolation.CHROOT:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    # bwrap reports a signal as a shell does.
    if sandbox.isolation is Isolation.BUBBLEWRAP and code > 128:
        code = 128 - code
    return ProgramEnd(code, stopped, error)


def _exec_command(sandbox: Sandbox, command: Command, error_end: int) -> None:
    """Execute the command in this process; write the reason into a pipe if that fails."""
    try:
        os.dup2(command.output, 1)
        os.dup2(command.output, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if sandbox.isolation is Isolation.BUBBLEWRAP:
            os.execve(_find_bubblewrap(), build_bubblewrap_command(sandbox, command), {})  # noqa: S606
        if sandbox.isolation is Isolation.CHROOT:
            enter_chroot(sandbox, command.arguments[0])
        elif os.geteuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
        os.chdir(command.directory)
        os.execve(command.arguments[0], command.arguments, command.environment)  # noqa: S606
    except OSError as error:
        os.write(error_end, (error.strerror or str(error)).encode())
    finally:
        os._exit(127)
