"""Many artifacts at once: a process each, as many as there are cores; one that dies is alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from bundle_fix.cli.workers import Report, Worker, end, kill, opened, signals_held, start
from bundle_fix.report.check_report import CheckReport

MOST_WAITING = 64 << 20
"""Bytes of reports that wait for one before them, from which on no further check is begun."""
TICK = 0.5
"""Seconds after which it is told again how many are done."""


def check_many(
    paths: Sequence[Path],
    report: Report,
    jobs: int,
    timeout: float | None,
    tell: Callable[[int], None],
) -> Iterator[CheckReport]:
    """The report on each artifact, in their order, each as soon as those before it are there.

    Args:
        paths: the artifacts.
        report: makes one report, in a process of its own.
        jobs: how many are checked at once.
        timeout: the seconds that one may take, if there is a limit.
        tell: is told now and then how many are done.

    Raises:
        OSError: there may be no process besides this one.
    """
    done: dict[int, bytes] = {}
    running: list[Worker] = []
    started = told = 0
    try:
        while told < len(paths):
            # The next to be told is running or done, so that this never waits for nothing.
            while started < len(paths) and len(running) < jobs and _room(done):
                try:
                    with signals_held():
                        running.append(start(started, paths[started], report, timeout, jobs))
                except OSError:
                    # At the limit of processes or open files: fewer at once do as well.
                    if not running:
                        raise
                    break
                started += 1
            tell(told + len(done))
            ended = _ended(running)
            for worker in ended:
                done[worker.number] = end(worker, timeout)
                running.remove(worker)
            while told in done:
                yield opened(done.pop(told))
                told += 1
    finally:
        for worker in running:
            kill(worker)


def _room(done: dict[int, bytes]) -> bool:
    return sum(map(len, done.values())) < MOST_WAITING


def _ended(running: Sequence[Worker]) -> list[Worker]:
    """The workers that have a result, have died, or have had their time."""
    if not running:
        return []
    soonest = min(worker.deadline for worker in running) - time.monotonic()
    ready = wait([worker.pipe for worker in running], max(0.0, min(soonest, TICK)))
    now = time.monotonic()
    return [worker for worker in running if worker.pipe in ready or worker.deadline <= now]
