"""Many artifacts at once: a process each, as many as there are cores; one that dies is alone."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from bundle_fix.errors import BundleFixError
from bundle_fix.report.model import CheckReport, error_report

Check = Callable[[Path], CheckReport]


@dataclass(frozen=True, slots=True)
class _Worker:
    number: int
    process: BaseProcess
    pipe: Connection
    deadline: float


def check_many(
    paths: Sequence[Path], check: Check, jobs: int, timeout: float | None
) -> Iterator[CheckReport]:
    """The report on each artifact, in their order, each as soon as those before it are there.

    Args:
        paths: the artifacts.
        check: makes one report; what it raises becomes the report.
        jobs: how many are checked at once.
        timeout: the seconds that one may take, if there is a limit.
    """
    done: dict[int, CheckReport] = {}
    running: list[_Worker] = []
    started = told = 0
    try:
        while told < len(paths):
            while started < len(paths) and len(running) < jobs:
                running.append(_start(started, paths[started], check, timeout))
                started += 1
            ended = _ended(running)
            for worker in ended:
                done[worker.number] = _result(worker, paths[worker.number], timeout)
            running = [worker for worker in running if worker not in ended]
            while told in done:
                yield done.pop(told)
                told += 1
    finally:
        for worker in running:
            _kill(worker)


def report_on(path: Path, check: Check) -> CheckReport:
    """The report on one artifact, in this process; what ``check`` raises becomes the report."""
    try:
        return check(path)
    except BundleFixError as error:
        return error_report(str(path), str(error))
    except MemoryError:
        return error_report(str(path), f"{path}: there is not enough memory")
    except OSError as error:
        return error_report(str(path), f"{path}: {error.strerror or error}")


def _start(number: int, path: Path, check: Check, timeout: float | None) -> _Worker:
    # The children share what was imported; this process has no threads that a fork could break.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, path, check), daemon=True)
    process.start()
    theirs.close()
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    return _Worker(number, process, ours, deadline)


def _work(pipe: Connection, path: Path, check: Check) -> None:
    # Ctrl-C reaches the whole group; the parent answers for all.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    report = msgspec.to_builtins(report_on(path, check))
    pipe.send(report)
    pipe.close()


def _ended(running: Sequence[_Worker]) -> list[_Worker]:
    """The workers that have a result, have died, or have had their time."""
    soonest = min(worker.deadline for worker in running)
    limit = None if soonest == float("inf") else max(0.0, soonest - time.monotonic())
    ready = wait([worker.pipe for worker in running], limit)
    now = time.monotonic()
    return [worker for worker in running if worker.pipe in ready or worker.deadline <= now]


def _result(worker: _Worker, path: Path, timeout: float | None) -> CheckReport:
    try:
        if not worker.pipe.poll():
            return error_report(
                str(path), f"{path}: the check took longer than {timeout:g} s (--timeout)"
            )
        return msgspec.convert(worker.pipe.recv(), CheckReport)
    except EOFError:
        worker.process.join()
        code = worker.process.exitcode or 0
        ended = signal.Signals(-code).name if code < 0 else f"status {code}"
        return error_report(str(path), f"{path}: the check of it ended by {ended}")
    finally:
        _kill(worker)


def _kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
