"""Processes that check one artifact each; none outlives the one that started it."""

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
"""Makes the report on one artifact."""
LARGEST_REPORT = 64 << 20
"""Bytes of a report that are taken from a worker: no honest pack has so much to find."""
GRACE = 5.0
"""Seconds that a worker whose pipe has ended may take to end itself."""


class Worker(Struct, frozen=True):
    """A process that checks ``path``, the artifact with this number, until ``deadline``.

    ``deadline`` is in seconds of the monotonic clock.
    """

    number: int
    path: Path
    process: BaseProcess
    pipe: Connection
    deadline: float


def start(number: int, path: Path, report: Report, timeout: float | None, jobs: int = 1) -> Worker:
    """Start a worker, one of ``jobs`` that share the processors.

    Raises:
        OSError: there may be no more processes or open files.
    """
    # The children share what was imported; this process has no threads that a fork could break.
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
def signals_held() -> Iterator[None]:
    """Hold back what would end this process: no worker is started that nobody knows of."""
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
        made = _sealed(report(path))
        if len(made) > LARGEST_REPORT:
            reason = f"{path}: its report has {in_units(len(made))} (check it by itself)"
            made = _sealed(make_error_report(str(path), reason))
    except Exception as error:
        reason = f"{path}: the check of it failed: {type(error).__name__}: {error}"
        made = _sealed(make_error_report(str(path), reason))
    pipe.send_bytes(made)
    pipe.close()


def _sealed(report: CheckReport) -> bytes:
    # Unlike msgspec's, this JSON can hold names that are not UTF-8.
    return json.dumps(msgspec.to_builtins(report)).encode()


def opened(data: bytes) -> CheckReport:
    """The report that `end` gave."""
    return msgspec.convert(json.loads(data), CheckReport)


def end(worker: Worker, timeout: float | None) -> bytes:
    """The report of a worker that has one, has died or has had its time; it is gone then.

    Returns:
        The report for `opened`, as small as it was sent.
    """
    try:
        if worker.pipe.poll():
            return worker.pipe.recv_bytes()
        reason = f"the check took longer than {timeout:g} s (--timeout)"
    except (EOFError, OSError):
        worker.process.join(GRACE)
        code = worker.process.exitcode or 0
        ended = signal.Signals(-code).name if code < 0 else f"status {code}"
        reason = f"the check of it ended by {ended}"
    finally:
        kill(worker)
    return _sealed(make_error_report(str(worker.path), f"{worker.path}: {reason}"))


def kill(worker: Worker) -> None:
    """End a worker whatever it is at, and leave no zombie."""
    worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.pipe.close()
