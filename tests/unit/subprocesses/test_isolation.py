"""Work in a process of its own: results, exceptions and deaths."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bundle_fix.subprocesses.isolation import DiedError, LimitReachedError, run_isolated

MIB = 1 << 20


@pytest.mark.parametrize("result", [None, "", "why not", "caf\udce9", "x" * 200_000])
def test_the_result_of_the_work_is_returned(result: str | None) -> None:
    assert run_isolated(lambda: result, 64 * MIB, 60) == result


def test_the_signal_that_ended_the_process_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DiedError, match="SIGKILL"):
        run_isolated(lambda: os.kill(os.getpid(), signal.SIGKILL), 64 * MIB, 60)
    assert capfd.readouterr() == ("", "")


def test_the_text_of_an_exception_is_reported() -> None:
    def work() -> str:
        raise ValueError("vector::_M_default_append")

    with pytest.raises(DiedError, match="vector::_M_default_append"):
        run_isolated(work, 64 * MIB, 60)


def test_memory_beyond_the_limit_cannot_be_allocated() -> None:
    """1 GiB, since malloc may still have some 64 MiB from the tests before (M_TRIM_THRESHOLD)."""
    with pytest.raises(LimitReachedError, match="the limit of 32 MiB of memory is reached"):
        run_isolated(lambda: str(len(bytes(1024 * MIB))), 32 * MIB, 60)


def test_the_limit_does_not_count_memory_that_the_process_has_already() -> None:
    data = bytearray(64 * MIB)
    assert run_isolated(lambda: str(len(data)), 32 * MIB, 60) == str(64 * MIB)


def test_work_beyond_the_time_limit_is_killed() -> None:
    with pytest.raises(LimitReachedError, match=r"of 0[.]05 seconds is reached"):
        run_isolated(lambda: time.sleep(600), 64 * MIB, 0.05)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
