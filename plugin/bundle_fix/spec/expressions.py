"""Regular expressions of a spec, searched in bounded time: some take longer than anybody waits."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

MAX_SEARCH_SECONDS = 2.0
"""Time of the processor that one search may take; what is honest takes a thousandth of it."""


class RegexTimeoutError(Exception):
    """A search has taken all the time that it may."""


def search_bounded(pattern: str, text: str) -> re.Match[str] | None:
    """The first match in ``text``, where ``^`` and ``$`` stand for the ends of lines.

    Raises:
        TooLongError: that takes more than `MAX_SEARCH_SECONDS`.
    """
    with _limit_cpu_time():
        return re.search(pattern, text, re.MULTILINE)


@contextmanager
def _limit_cpu_time() -> Iterator[None]:
    """Interrupt what takes too long; elsewhere than in the main thread there is no limit.

    `re` looks for signals now and then, and Python answers them in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _raise_timeout)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SEARCH_SECONDS)
        yield
    finally:
        # One that comes in between is too late to matter.
        with suppress(RegexTimeoutError):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _raise_timeout(_number: int, _frame: FrameType | None) -> NoReturn:
    raise RegexTimeoutError
