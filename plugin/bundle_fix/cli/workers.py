"""Worker processes that check one artifact each and end with the process that started them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
from msgspec import Struct

from bundle_fix.archive.limits import in_units
from bundle_fix.report.check_report import CheckReport, make_error_report
from bundle_fix.subprocesses.forks import ENDING, die_with_parent
from bundle_fix.subprocesses.processors import limit_cores

Report = Callable[[Path], CheckReport]
"""Function that returns the report on one artifact."""
LARGEST_REPORT = 64 << 20
"""Largest report of a worker in bytes; the limit keeps hostile input from filling the memory."""
GRACE = 5.0
"""Seconds to wait for the exit of a worker that has closed its pipe."""


class Worker(Struct, frozen=True):
    """A process that checks ``path``, the artifact with this number, until ``deadline``.

    ``deadline`` is in seconds of the monotonic clock.
    """

    number: int
    path: Path
    process: BaseProcess
    pipe: Connection
    deadline: float


def start_worker(
    number: int, path: Path, report: Report, timeout: float | None, jobs: int = 1
) -> Worker:
    """Start a worker, one of ``jobs`` that share the processors.

    Raises:
        OSError: The limit of processes or open files is reached.
    """
    # fork() shares the imported modules. It is safe because this process has no threads.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    try:
        process = context.Process(
            target=_work, args=(theirs, path, report, os.getpid(), jobs), daemon=True
        )
        process.start()
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    return Worker(number, path, process, ours, deadline)


@contextmanager
def block_signals() -> Iterator[None]:
    """Block termination signals, so that each started worker is registered and can be killed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, path: Path, report: Report, parent: int, jobs: int) -> None:
    die_with_parent(parent)
    limit_cores(jobs)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        made = _encode_report(report(path))
        if len(made) > LARGEST_REPORT:
            limit = in_units(LARGEST_REPORT)
            size = in_units(len(made))
            reason = f"{path}: the report is {size}, more than {limit}; check this artifact alone"
            made = _encode_report(make_error_report(str(path), reason))
    except Exception as error:
        reason = f"{path}: the check failed: {type(error).__name__}: {error}"
        made = _encode_report(make_error_report(str(path), reason))
    pipe.send_bytes(made)
    pipe.close()


def _encode_report(report: CheckReport) -> bytes:
    # Unlike msgspec's, this JSON can hold names that are not UTF-8.
    return json.dumps(msgspec.to_builtins(report)).encode()


def decode_report(data: bytes) -> CheckReport:
    """Return the report that `collect_report` returned."""
    return msgspec.convert(json.loads(data), CheckReport)


def collect_report(worker: Worker, timeout: float | None) -> bytes:
    """Return the report of a worker that has finished, died or exceeded its deadline; remove it.

    Returns:
        The encoded report for `decode_report`.
    """
    try:
        if worker.pipe.poll():
            return worker.pipe.recv_bytes()
        reason = f"the check took longer than {timeout:g} s (--timeout)"
    except (EOFError, OSError):
        worker.process.join(GRACE)
        code = worker.process.exitcode or 0
        ended = signal.Signals(-code).name if code < 0 else f"status {code}"
        reason = f"the check ended by {ended}"
    finally:
        kill_worker(worker)
    return _encode_report(make_error_report(str(worker.path), f"{worker.path}: {reason}"))


def kill_worker(worker: Worker) -> None:
    """Kill a worker and reap it."""
    worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.pipe.close()
