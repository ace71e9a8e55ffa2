"""Children do one piece of work, end with their parent, and a crash of one loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import pytest

from bundle_fix.subprocesses import forks
from bundle_fix.subprocesses.forks import (
    block_signals,
    is_worth_forking,
    kill_fork,
    start_fork,
    wait_for_exit,
    wait_for_output,
)
from bundle_fix.subprocesses.processors import count_cores, share_cores


def has_children() -> bool:
    """Return whether this process has a child, running or not yet reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def test_killing_a_child_waits_for_the_end_of_its_own_children() -> None:
    """Otherwise a grandchild could still write into a directory that is being removed."""

    def wait(pipe: IO[bytes]) -> None:
        # The kernel needs time to free the memory.
        _memory = b"x" * (100 << 20)
        pipe.write(b"ready\n")
        pipe.flush()
        time.sleep(60)

    def fork_and_wait(pipe: IO[bytes]) -> None:
        grandchild = start_fork(wait)
        grandchild.pipe.readline()
        pipe.write(b"%d\n" % grandchild.pid)
        pipe.flush()
        time.sleep(60)

    child = start_fork(fork_and_wait)
    pid = int(child.pipe.readline())
    kill_fork(child)
    # A process without open files can write nothing any more, even if it still exists. Without its
    # memory, only root may list them (ptrace(2), "Ptrace access mode checking").
    with suppress(FileNotFoundError, PermissionError):
        assert not list(Path(f"/proc/{pid}/fd").iterdir())


def test_output_is_awaited_from_many_children_at_once() -> None:
    def write_early(pipe: IO[bytes]) -> None:
        pipe.write(b"early")
        pipe.flush()
        signal.pause()

    def crash(_pipe: IO[bytes]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    quiet, early, crashed = map(start_fork, (lambda _pipe: signal.pause(), write_early, crash))
    try:
        ready: set[int] = set()
        while len(ready) < 2:
            ready |= {child.pid for child in wait_for_output([quiet, early, crashed], 10)}
        assert ready == {early.pid, crashed.pid}
        assert early.pipe.read1(100) == b"early"
        assert crashed.pipe.read1(100) == b""
        assert wait_for_exit(crashed) == -signal.SIGKILL
        assert wait_for_output([quiet, early], 0.01) == []
    finally:
        kill_fork(quiet)
        kill_fork(early)


def test_a_child_prints_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    def abort(_pipe: IO[bytes]) -> None:
        os.write(2, b"terminate called after throwing an instance of 'lief::error'\n")
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait_for_exit(start_fork(abort)) == -signal.SIGKILL
    assert capfd.readouterr().err == ""


def test_a_child_runs_in_a_root_file_system_without_dev(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "devnull", "/gone/null")

    def print_and_answer(pipe: IO[bytes]) -> None:
        with suppress(BrokenPipeError):
            os.write(2, b"discarded\n")
        pipe.write(b"answer")

    process = start_fork(print_and_answer)
    assert process.pipe.read() == b"answer"
    assert wait_for_exit(process) == 0
    assert capfd.readouterr().err == ""


class StopError(Exception):
    """Raised by the signal handler of these tests."""


@pytest.fixture
def raising_handler() -> Iterator[None]:
    """Let SIGHUP raise `StopError`."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise StopError

    before = signal.signal(signal.SIGHUP, stop)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("raising_handler")
def test_a_signal_during_the_start_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork

    def fork_then_signal() -> int:
        child = fork()
        if child:
            signal.raise_signal(signal.SIGHUP)
        return child

    monkeypatch.setattr(os, "fork", fork_then_signal)
    with pytest.raises(StopError):
        start_fork(lambda _pipe: signal.pause())
    assert not has_children()


def test_a_child_that_is_reaped_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may arrive after a worker is reaped and before it leaves the list of workers."""
    process = start_fork(lambda pipe: None)
    assert process.pipe.read() == b""
    assert wait_for_exit(process) == 0
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed another process"))
    kill_fork(process)


@pytest.mark.usefixtures("raising_handler")
def test_a_signal_while_a_child_is_reaped_arrives_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = start_fork(lambda pipe: None)
    real = os.waitpid

    def wait_and_signal(pid: int, options: int) -> tuple[int, int]:
        result = real(pid, options)
        # To this thread: another one would take a signal to the process while this one blocks it.
        signal.raise_signal(signal.SIGHUP)
        return result

    monkeypatch.setattr(os, "waitpid", wait_and_signal)
    with pytest.raises(StopError):
        wait_for_exit(process)
    monkeypatch.undo()
    kill_fork(process)


@pytest.mark.usefixtures("raising_handler")
def test_blocked_signals_arrive_after_the_block() -> None:
    # In a child, which has no other threads: the kernel would give the signal to one of them.
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with block_signals():
                os.kill(os.getpid(), signal.SIGHUP)
                status = 2
        except StopError:
            status = 0 if status == 2 else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_worker_uses_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))

    def count_in_worker(pipe: IO[bytes]) -> None:
        share_cores(4)
        pipe.write(b"%d" % count_cores())

    worker = start_fork(count_in_worker)
    assert worker.pipe.read() == b"2"
    assert wait_for_exit(worker) == 0
    assert count_cores() == 8


def test_only_large_work_is_worth_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "count_cores", lambda: 2)
    assert is_worth_forking(100 << 20)
    assert not is_worth_forking(1 << 20)
    monkeypatch.setattr(forks, "count_cores", lambda: 1)
    assert not is_worth_forking(100 << 20)
