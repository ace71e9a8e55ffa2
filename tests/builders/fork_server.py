"""Runs of the command line in forks of one process, which has imported its modules and LIEF.

Starting Python with these modules takes 0.4 s, with LIEF 1.5 s; a fork takes 10 ms. The rest is as
for a program that is started: the command begins with `run` in a process with its own output,
directory, environment and exit code.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

MAX_MESSAGE = 1 << 20
"""Bytes of a request: the arguments and the environment."""
AT_START = ("PYTHON", "LANG", "LC_", "LD_")
"""Beginnings of the names of variables that are read only when a program is started."""


def can_fork(environ: Mapping[str, str]) -> bool:
    """Return whether a fork is like a new process with these variables, for the user of now."""
    if os.geteuid() != os.getuid():
        return False
    _, before = _start_server()
    return _select_variables(environ) == before


def run_in_fork(
    arguments: Sequence[str], directory: Path, environ: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command as ``subprocess.run`` does with captured output and without input."""
    server, _ = _start_server()
    mask = os.umask(0)
    os.umask(mask)
    request = json.dumps([list(arguments), str(directory.absolute()), dict(environ), mask])
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    socket.send_fds(server, [request.encode()], writers)
    for writer in writers:
        os.close(writer)
    try:
        out, err = _read_pipes(readers, timeout)
    except TimeoutError:
        # The server still waits for this command, and its answer would be taken for the next one's.
        _start_server.cache_clear()
        raise
    status = int(server.recv(MAX_MESSAGE))
    return subprocess.CompletedProcess(arguments, status, _decode(out), _decode(err))


def _select_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if name.startswith(AT_START)}


@cache
def _start_server() -> tuple[socket.socket, dict[str, str]]:
    """Start the process, which is no child of this one, and ends when this one has ended.

    Returns:
        The socket to it, and the variables that it read at its start.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-c", "import builders.fork_server as s, sys; s.serve()"]
        subprocess.run(
            [*command, str(number)], pass_fds=[number], stdin=subprocess.DEVNULL, check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
    return ours, _select_variables(os.environ)


def _read_pipes(readers: Sequence[int], timeout: float) -> list[bytes]:
    """Return what is written to each pipe until its end, and close it."""
    found = dict.fromkeys(readers, b"")
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(end - time.monotonic())
            if not ready:
                raise TimeoutError(f"the command has not ended after {timeout} s")
            for key, _ in ready:
                found[key.fd] += (chunk := os.read(key.fd, MAX_MESSAGE))
                if not chunk:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return list(found.values())


def _decode(text: bytes) -> str:
    """Return text with the line ends that ``subprocess`` makes of it."""
    return io.TextIOWrapper(io.BytesIO(text), encoding="utf-8").read()


def serve() -> None:
    """Fork for each request and answer with the exit code, until the other end is closed."""
    if os.fork():
        # Tests count the children of their process.
        return
    import lief  # noqa: F401

    import bundle_fix.cli

    for module in pkgutil.iter_modules(bundle_fix.cli.__path__, "bundle_fix.cli."):
        importlib.import_module(module.name)
    # Otherwise each fork would copy the memory of all objects at its first collection.
    gc.freeze()
    server = socket.socket(fileno=int(sys.argv.pop()))
    while True:
        message, pipes, *_ = socket.recv_fds(server, MAX_MESSAGE, 2)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            server.close()
            _become_command(message, pipes)
        for pipe in pipes:
            os.close(pipe)
        _, status = os.waitpid(child, 0)
        server.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become_command(message: bytes, pipes: Sequence[int]) -> None:
    """Run the command of a request, and exit."""
    from bundle_fix.cli.main import run

    arguments, directory, environ, mask = json.loads(message)
    for number, pipe in enumerate(pipes, 1):
        os.dup2(pipe, number)
        os.close(pipe)
    os.chdir(directory)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = arguments
    try:
        run()
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    # Taking LIEF down takes 0.4 s, and prints what it leaks.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)
