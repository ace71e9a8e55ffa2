"""Times commands as whole processes and watches their memory."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One process: its wall time in seconds and its peak memory in MiB."""

    seconds: float
    mebibytes: float


def run(command: Sequence[str] | str) -> Run:
    """Run a command (a string goes to the shell) and measure it; its output is thrown away."""
    # Else who writes with care waits for what others have left to be written.
    os.sync()
    start = time.perf_counter()
    arguments = ["sh", "-c", command] if isinstance(command, str) else list(command)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - start, _peak(usage))


def _peak(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def best(command: Sequence[str] | str, times: int = 3) -> Run:
    """The quickest of several runs, with the greatest peak memory of any of them."""
    runs = [run(command) for _ in range(times)]
    return Run(min(r.seconds for r in runs), max(r.mebibytes for r in runs))
