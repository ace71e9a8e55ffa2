"""Check many artifacts in parallel worker processes; a crash affects only its own artifact."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from bundle_fix.archive.limits import format_size
from bundle_fix.model.content import CHUNK
from bundle_fix.report.check_report import CheckReport, make_error_report
from bundle_fix.subprocesses.forks import (
    ForkedProcess,
    block_signals,
    kill_fork,
    start_fork,
    wait_for_exit,
    wait_for_output,
)
from bundle_fix.subprocesses.processors import share_cores
from bundle_fix.subprocesses.signal_names import get_signal_name

ReportMaker = Callable[[Path], CheckReport]
"""Function that checks one artifact and returns the report."""
LARGEST_REPORT = 64 << 20
"""Largest report of a worker in bytes; the limit keeps hostile input from filling the memory."""
MOST_WAITING = 64 << 20
"""Bytes of finished reports that wait for an earlier one; at this limit no check is started."""
TICK = 0.5
"""Seconds between two progress reports."""


class Worker(Struct, frozen=True):
    """A child that checks ``path``, the artifact with this number.

    Attributes:
        number: Position of the artifact on the command line.
        path: The artifact.
        process: The child.
        deadline: When it is killed, in seconds of the monotonic clock.
        received: The part of its report that has arrived.
    """

    number: int
    path: Path
    process: ForkedProcess
    deadline: float
    received: bytearray


def check_many(
    paths: Sequence[Path],
    make_report: ReportMaker,
    jobs: int,
    timeout: float | None,
    report_progress: Callable[[int], None],
) -> Iterator[CheckReport]:
    """Yield the report on each artifact, in order, as soon as all earlier ones are finished.

    Args:
        paths: The artifacts.
        make_report: Makes one report, in a worker process.
        jobs: The number of workers.
        timeout: The limit of one check in seconds, or None.
        report_progress: Callback that gets the number of finished checks.

    Raises:
        OSError: No worker process can be started.
    """
    finished: dict[int, bytes] = {}
    running: list[Worker] = []
    started = yielded = 0
    try:
        while yielded < len(paths):
            # The next report is always running or finished, so that this loop cannot wait forever.
            while started < len(paths) and len(running) < jobs and _has_room(finished):
                try:
                    with block_signals():
                        worker = start_worker(started, paths[started], make_report, timeout, jobs)
                        running.append(worker)
                except OSError:
                    # At the limit of processes or open files, continue with fewer workers.
                    if not running:
                        raise
                    break
                started += 1
            report_progress(yielded + len(finished))
            for worker, data in _collect_reports(running, timeout):
                finished[worker.number] = data
                running.remove(worker)
            while yielded in finished:
                yield decode_report(finished.pop(yielded))
                yielded += 1
    finally:
        for worker in running:
            kill_fork(worker.process)


def start_worker(
    number: int, path: Path, make_report: ReportMaker, timeout: float | None, jobs: int
) -> Worker:
    """Start a worker, one of ``jobs`` that share the cores.

    Raises:
        OSError: The limit of processes or open files is reached.
    """
    # fork() shares the imported modules. It is safe because this process has no threads.
    process = start_fork(partial(_write_report, path, make_report, jobs))
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    return Worker(number, path, process, deadline, bytearray())


def decode_report(data: bytes) -> CheckReport:
    """Return the report that a worker wrote."""
    from bundle_fix.report.graphs.drawn_report import DrawnReport

    return msgspec.convert(json.loads(data), DrawnReport)


def _encode_report(report: CheckReport) -> bytes:
    # Unlike msgspec's, this JSON can hold names that are not UTF-8.
    return json.dumps(msgspec.to_builtins(report)).encode()


def _encode_error(path: Path, reason: str) -> bytes:
    return _encode_report(make_error_report(str(path), f"{path}: {reason}"))


def _write_report(path: Path, make_report: ReportMaker, jobs: int, pipe: IO[bytes]) -> None:
    """Check one artifact, in a worker, and write the report to ``pipe``."""
    share_cores(jobs)
    try:
        data = _encode_report(make_report(path))
        if len(data) > LARGEST_REPORT:
            size, limit = format_size(len(data)), format_size(LARGEST_REPORT)
            reason = f"the report is {size}, more than {limit}; check this artifact alone"
            data = _encode_error(path, reason)
    except Exception as error:
        data = _encode_error(path, f"the check failed: {type(error).__name__}: {error}")
    pipe.write(data)


def _has_room(finished: dict[int, bytes]) -> bool:
    return sum(map(len, finished.values())) < MOST_WAITING


def _collect_reports(
    running: Sequence[Worker], timeout: float | None
) -> Iterator[tuple[Worker, bytes]]:
    """Wait for output; yield the workers that have ended or exceeded the timeout, and reap them.

    Each comes with its encoded report, for `decode_report`.
    """
    if not running:
        return
    soonest = min(worker.deadline for worker in running) - time.monotonic()
    ready = wait_for_output([worker.process for worker in running], min(soonest, TICK))
    for worker in list(running):
        if worker.process in ready:
            data = worker.process.pipe.read1(CHUNK)
            worker.received.extend(data)
            if not data:
                yield worker, _finish_worker(worker)
        elif worker.deadline <= time.monotonic():
            kill_fork(worker.process)
            reason = f"the check took longer than {timeout:g} s (--timeout)"
            yield worker, _encode_error(worker.path, reason)


def _finish_worker(worker: Worker) -> bytes:
    """Reap a worker that has closed its pipe; return its encoded report, or why it has none."""
    code = wait_for_exit(worker.process)
    if code == 0:
        return bytes(worker.received)
    ended = get_signal_name(-code) if code < 0 else f"exit code {code}"
    return _encode_error(worker.path, f"the check ended by {ended}")
