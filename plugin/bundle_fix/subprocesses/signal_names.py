"""The names of signals."""

from __future__ import annotations

import signal


def get_signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGSEGV`` or ``SIGRTMIN+6`` (signal(7))."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN{number - signal.SIGRTMIN:+d}"
