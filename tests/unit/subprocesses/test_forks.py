"""Work that is done beside other work is done once, ends with it, and is never missed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

import pytest

from bundle_fix.subprocesses import forks
from bundle_fix.subprocesses.forks import is_worth_forking, kill_fork, run_in_subprocess, start_fork
from bundle_fix.subprocesses.processors import count_cores

HERE = os.getpid()


def test_work_is_done_in_another_process() -> None:
    with run_in_subprocess(os.getpid) as told:
        assert told() != os.getpid()


def test_what_it_makes_may_be_larger_than_a_pipe() -> None:
    with run_in_subprocess(lambda: bytes(10_000_000)) as told:
        assert told() == bytes(10_000_000)


def test_what_it_raises_is_raised_by_who_asks() -> None:
    def fail() -> NoReturn:
        raise ValueError("of no use")

    with run_in_subprocess(fail) as told, pytest.raises(ValueError, match="of no use"):
        told()


def test_a_process_that_dies_costs_nothing() -> None:
    def die_elsewhere() -> int:
        if os.getpid() != HERE:
            os._exit(9)
        return 7

    with run_in_subprocess(die_elsewhere) as told:
        assert told() == 7


def test_where_no_process_may_be_started_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_work: object) -> NoReturn:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(forks, "start_fork", no_more)
    with run_in_subprocess(os.getpid) as told:
        assert told() == os.getpid()


def test_what_nobody_asks_for_ends_with_the_context(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Nobody ever writes into it.
    with run_in_subprocess(fifo.read_bytes):
        pass
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_a_process_forked_ends_before_it_is_taken_for_ended() -> None:
    """Else it could still write into a folder that is being removed."""

    def wait(pipe: IO[bytes]) -> None:
        # To be rid of memory takes time.
        _memory = b"x" * (100 << 20)
        pipe.write(b"there\n")
        pipe.flush()
        time.sleep(60)

    def lead(pipe: IO[bytes]) -> None:
        forked = start_fork(wait)
        forked.pipe.readline()
        pipe.write(b"%d\n" % forked.pid)
        pipe.flush()
        time.sleep(60)

    leader = start_fork(lead)
    pid = int(leader.pipe.readline())
    kill_fork(leader)
    # A process that has given up its files can do nothing any more, if it is there at all.
    with suppress(FileNotFoundError):
        assert not list(Path(f"/proc/{pid}/fd").iterdir())


def test_it_takes_one_processor() -> None:
    with run_in_subprocess(count_cores) as told:
        assert told() == 1


def test_only_much_work_is_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "count_cores", lambda: 2)
    assert is_worth_forking(100 << 20)
    assert not is_worth_forking(1 << 20)
    monkeypatch.setattr(forks, "count_cores", lambda: 1)
    assert not is_worth_forking(100 << 20)
