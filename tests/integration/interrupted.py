"""Runs of bundle-fix in which a signal or an error occurs at a chosen system call.

The program reads orders from stdin, one line of JSON each: ``arguments``, ``cwd``, and the event.
``call`` is the number of a system call, counted among those that change a disk. Before or after
it the process gets ``signal``, or the call fails with ``error``; with 0 nothing happens. The answer
has the exit status (negative: a signal), the number of such calls, and the text on stderr. Each
run is a fork of this process, so that hundreds of runs are cheap.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

CALLS = (
    "write", "pwrite", "replace", "rename", "link", "symlink", "unlink", "rmdir", "mkdir", "fsync",
    "ftruncate", "chmod", "fchmod", "chown", "fchown", "utime", "setxattr", "copy_file_range",
)  # fmt: skip


def interpose(name: str, order: dict[str, Any], count: list[int]) -> Callable[..., Any]:
    real = getattr(os, name)

    def call(*arguments: Any, **options: Any) -> Any:
        # Output on stdout and stderr changes no disk.
        if name == "write" and arguments[0] in (1, 2):
            return real(*arguments, **options)
        count[0] += 1
        reached = count[0] == order["call"]
        if reached and order.get("error"):
            raise OSError(order["error"], os.strerror(order["error"]))
        if reached and order.get("before"):
            os.kill(os.getpid(), order["signal"])
        result = real(*arguments, **options)
        if reached and order.get("signal"):
            os.kill(os.getpid(), order["signal"])
        return result

    return call


def run(order: dict[str, Any], log: int, counts: int) -> None:
    """Execute an order in this process, and exit."""
    from bundle_fix.cli.main import main
    from bundle_fix.cli.signals import install_signal_handlers

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(log, 2)
    os.chdir(order["cwd"])
    tempfile.tempdir = order["cwd"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    install_signal_handlers()
    count = [0]
    for name in CALLS:
        setattr(os, name, interpose(name, order, count))
    status = 99
    try:
        status = main(order["arguments"])
    finally:
        sys.stderr.flush()
        os.pwrite(counts, b"%d" % count[0], 0)
        os._exit(status)


def warm_up(order: dict[str, Any]) -> None:
    """Execute an order without a fork, so that later runs find its modules imported."""
    import lief  # noqa: F401 (children of each run use it, and importing it takes a second)

    from bundle_fix.cli.main import main

    os.chdir(order["cwd"])
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        main(order["arguments"])
    gc.collect()
    gc.freeze()


def serve() -> None:
    """Answer every order of stdin."""
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("here"):
            warm_up(order)
            sys.stdout.write("{}\n")
            sys.stdout.flush()
            continue
        with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as counts:
            child = os.fork()
            if child == 0:
                run(order, log.fileno(), counts.fileno())
            if "after" in order:
                time.sleep(order["after"])
                os.kill(child, order["signal"])
            _, status = os.waitpid(child, 0)
            text = os.pread(log.fileno(), 100_000, 0).decode("utf-8", "replace")
            calls = int(os.pread(counts.fileno(), 20, 0) or 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "calls": calls, "stderr": text}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
