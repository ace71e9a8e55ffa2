"""The processors that this process may use."""

from __future__ import annotations

import os

_sharers = 1


def count_cores() -> int:
    """How many processors this process may use, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // _sharers)


def limit_cores(processes: int) -> None:
    """Let this process have its part of the processors only, which so many processes share."""
    global _sharers  # noqa: PLW0603 (a fact of the process, as its affinity is)
    _sharers = processes
