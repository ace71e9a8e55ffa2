from __future__ import annotations

import signal

from bundle_fix.subprocesses.signal_names import get_signal_name


def test_every_signal_has_a_name() -> None:
    assert get_signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert get_signal_name(signal.SIGRTMIN + 6) == "SIGRTMIN+6"
