"""The number of processor cores that this process may use."""

from __future__ import annotations

import os

_sharers = 1


def count_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // _sharers)


def share_cores(processes: int) -> None:
    """Divide the cores that this process may use among ``processes`` processes."""
    global _sharers  # noqa: PLW0603 (state of the process, like its affinity)
    _sharers *= processes
