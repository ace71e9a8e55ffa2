"""Signal dispositions for the tests of the command line."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def default_signal_handlers() -> Iterator[None]:
    """Reset SIGINT and SIGHUP, which child processes of a test inherit if they are ignored.

    nohup(1) ignores SIGHUP, and POSIX shells ignore SIGINT for a command in the background (`&`);
    execve(2) keeps ignored signals ignored.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
