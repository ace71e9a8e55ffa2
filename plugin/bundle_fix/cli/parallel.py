"""Check many artifacts in parallel worker processes; a crash affects only its own artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from bundle_fix.cli.workers import (
    Report,
    Worker,
    block_signals,
    collect_report,
    decode_report,
    kill_worker,
    start_worker,
)
from bundle_fix.report.check_report import CheckReport

MOST_WAITING = 64 << 20
"""Bytes of finished reports that wait for an earlier one; at this limit no check is started."""
TICK = 0.5
"""Seconds between two progress reports."""


def check_many(
    paths: Sequence[Path],
    report: Report,
    jobs: int,
    timeout: float | None,
    tell: Callable[[int], None],
) -> Iterator[CheckReport]:
    """Yield the report on each artifact, in order, as soon as all earlier ones are finished.

    Args:
        paths: The artifacts.
        report: Makes one report, in a worker process.
        jobs: The number of workers.
        timeout: The limit of one check in seconds, or None.
        tell: Callback that gets the number of finished checks.

    Raises:
        OSError: No worker process can be started.
    """
    done: dict[int, bytes] = {}
    running: list[Worker] = []
    started = reported = 0
    try:
        while reported < len(paths):
            # The next report is always running or finished, so that this loop cannot wait forever.
            while started < len(paths) and len(running) < jobs and _has_room(done):
                try:
                    with block_signals():
                        running.append(start_worker(started, paths[started], report, timeout, jobs))
                except OSError:
                    # At the limit of processes or open files, continue with fewer workers.
                    if not running:
                        raise
                    break
                started += 1
            tell(reported + len(done))
            ended = _wait_for_workers(running)
            for worker in ended:
                done[worker.number] = collect_report(worker, timeout)
                running.remove(worker)
            while reported in done:
                yield decode_report(done.pop(reported))
                reported += 1
    finally:
        for worker in running:
            kill_worker(worker)


def _has_room(done: dict[int, bytes]) -> bool:
    return sum(map(len, done.values())) < MOST_WAITING


def _wait_for_workers(running: Sequence[Worker]) -> list[Worker]:
    """Return the workers that have finished, died or exceeded their deadline."""
    if not running:
        return []
    soonest = min(worker.deadline for worker in running) - time.monotonic()
    ready = wait([worker.pipe for worker in running], max(0.0, min(soonest, TICK)))
    now = time.monotonic()
    return [worker for worker in running if worker.pipe in ready or worker.deadline <= now]
