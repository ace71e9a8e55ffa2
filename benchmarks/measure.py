"""Measure the time and memory of commands as whole processes."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One process with its children: wall time and CPU time in seconds, peak memory in MiB."""

    seconds: float
    cpu_seconds: float
    mebibytes: float


def measure_command(command: Sequence[str] | str) -> Run:
    """Run a command (a string is a shell command) and measure it; its output is discarded."""
    # Otherwise fsync in the command would also wait for data that earlier processes wrote.
    os.sync()
    start = time.perf_counter()
    arguments = ["sh", "-c", command] if isinstance(command, str) else list(command)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - start
    return Run(seconds, usage.ru_utime + usage.ru_stime, _read_peak(usage))


def _read_peak(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def measure_best(command: Sequence[str] | str, times: int = 3) -> Run:
    """Return the shortest times and the largest peak memory of several runs."""
    runs = [measure_command(command) for _ in range(times)]
    return Run(
        min(r.seconds for r in runs),
        min(r.cpu_seconds for r in runs),
        max(r.mebibytes for r in runs),
    )
