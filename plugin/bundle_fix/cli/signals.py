"""Signal handling: on SIGTERM/SIGHUP clean up temporary files and exit with 128 + signal.

POSIX shells report a command that a signal ended as 128 plus the number of the signal.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from bundle_fix.subprocesses.null_device import open_null_device

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process by default. Python itself turns SIGINT into KeyboardInterrupt."""


class StoppedError(BaseException):
    """A signal ended the command; as with KeyboardInterrupt, temporary files are removed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install_signal_handlers() -> None:
    """Make termination signals raise exceptions; an ignored signal (nohup) stays ignored.

    SIGINT raises KeyboardInterrupt, the others raise `StoppedError`.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in TERMINATION_SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _raise_stopped)


def _raise_stopped(number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the clean-up.
    for other in TERMINATION_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise StoppedError(number)


def open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed (``>&-``).

    Otherwise the next file that is opened would get its number, because open(2) returns the lowest
    free one, and messages would be written into a pack.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            open_null_device(fd)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def flush_output(data: bytes = b"") -> str:
    """Write buffered output and then ``data`` to stdout.

    Returns:
        The reason if the output cannot be written, else an empty text. A pipe whose reader has
        ended is not reported.
    """
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python would flush stdout again at exit, and print a traceback.
        open_null_device(1)
        return "" if isinstance(error, BrokenPipeError) else error.strerror or str(error)
    return ""
