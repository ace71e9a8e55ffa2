"""What ends its process ends no more than that."""

from __future__ import annotations

import os
import signal

import pytest

from bundle_fix.elf.verify.isolated import DiedError, isolated


@pytest.mark.parametrize("result", [None, "", "why not", "caf\udce9", "x" * 200_000])
def test_what_the_work_returns_is_returned(result: str | None) -> None:
    assert isolated(lambda: result) == result


def test_a_process_that_dies_is_told_by_its_signal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DiedError, match="SIGKILL"):
        isolated(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert capfd.readouterr() == ("", "")


def test_what_the_work_raises_is_told() -> None:
    def work() -> str:
        raise ValueError("vector::_M_default_append")

    with pytest.raises(DiedError, match="vector::_M_default_append"):
        isolated(work)
