"""How a command ends that is told to: nothing of what it was about stays, and its status tells why.

A shell adds 128 to the number of the signal that ended a program; who asked gets that number.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that a program may answer, and that end it where it does not; Ctrl-C Python answers."""


class StoppedError(BaseException):
    """The command was told to end; as with Ctrl-C, whatever is open is closed and removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def answer_signals() -> None:
    """Have signals that end the program raise `StoppedError`; what is ignored stays ignored."""
    for number in STOPPING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    # A second one must not come in the middle of the tidying up.
    for known in STOPPING:
        signal.signal(known, signal.SIG_IGN)
    raise StoppedError(number)


def open_standard_streams() -> None:
    """Have all three standard streams lead somewhere.

    Where one is closed (``>&-``), the next file that is opened would take its place, and what is
    printed would be written into a pack.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def flushed(data: bytes = b"") -> str:
    """Print ``data`` behind what waits to be printed; why it could not be, or empty.

    Where nobody reads any more, it is not missed.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return "" if isinstance(error, BrokenPipeError) else error.strerror or str(error)
    return ""
