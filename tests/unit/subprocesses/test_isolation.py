"""Work in a process of its own: results, exceptions and deaths."""

from __future__ import annotations

import os
import signal

import pytest

from bundle_fix.subprocesses.isolation import DiedError, run_isolated


@pytest.mark.parametrize("result", [None, "", "why not", "caf\udce9", "x" * 200_000])
def test_the_result_of_the_work_is_returned(result: str | None) -> None:
    assert run_isolated(lambda: result) == result


def test_the_signal_that_ended_the_process_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DiedError, match="SIGKILL"):
        run_isolated(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert capfd.readouterr() == ("", "")


def test_the_text_of_an_exception_is_reported() -> None:
    def work() -> str:
        raise ValueError("vector::_M_default_append")

    with pytest.raises(DiedError, match="vector::_M_default_append"):
        run_isolated(work)
