"""Regular expressions of a spec, searched in bounded time: some take longer than anybody waits."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

MOST_SECONDS = 2.0
"""Time of the processor that one search may take; what is honest takes a thousandth of it."""


class TooLongError(Exception):
    """A search has taken all the time that it may."""


def first_match(pattern: str, text: str) -> re.Match[str] | None:
    """The first match in ``text``, where ``^`` and ``$`` stand for the ends of lines.

    Raises:
        TooLongError: that takes more than `MOST_SECONDS`.
    """
    with _limited():
        return re.search(pattern, text, re.MULTILINE)


@contextmanager
def _limited() -> Iterator[None]:
    """Interrupt what takes too long; elsewhere than in the main thread there is no limit.

    `re` looks for signals now and then, and Python answers them in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _stop)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
        yield
    finally:
        # One that comes in between is too late to matter.
        with suppress(TooLongError):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TooLongError
