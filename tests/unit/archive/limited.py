"""Runs of the command line with little memory, and archives that are small for their contents."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from archive.views import describe_directory
from builders.tar import END_SIZE, make_member, set_size
from fuzz.commands import CONTROL_CHARACTERS, run_command

MAX_ADDRESS_SPACE = 2 << 30
MAX_MEMORY = 400 << 20
"""Limit of the resident bytes of a command, for every artifact."""
MAX_SECONDS = 60


@dataclass(frozen=True)
class LimitedRun:
    """The exit code, output and costs of a command; ``memory`` is in bytes."""

    status: int
    out: str
    err: str
    memory: int
    seconds: float


def run_limited(*arguments: str | Path) -> LimitedRun:
    """Run ``bundle-fix`` with little address space; its output has no control characters."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))

    command = [sys.executable, "-m", "fuzz.measured", *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=3 * MAX_SECONDS, env=environ,
        stdin=subprocess.DEVNULL, preexec_fn=limit,
    )  # fmt: skip
    out, _, memory = done.stdout.decode().rpartition("\n\0")
    for text in (out, done.stderr.decode()):
        assert CONTROL_CHARACTERS.search(text) is None
    seconds = time.monotonic() - start
    return LimitedRun(done.returncode, out, done.stderr.decode(), int(memory) << 10, seconds)


COMMANDS = (
    ("check", "{}"), ("tree", "{}"), ("why", "{}", "libx.so"), ("fix", "{}"),
    ("fix", "--in-place", "{}"), ("fix", "{}", "-o", "{out}"), ("fix", "--dry-run", "{}"),
)  # fmt: skip


def assert_every_command_refuses(path: Path, *options: str) -> str:
    """Return the line that every command prints for an artifact; no files may be left."""
    before = describe_directory(path.parent)
    ran = run_limited("check", *options, path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert ran.err.startswith("bundle-fix: error: ")
    assert (ran.memory < MAX_MEMORY, ran.seconds < MAX_SECONDS) == (True, True), ran
    for command in COMMANDS:
        outcome = run_command([command[0], *options, *command[1:]], path, path.parent)
        assert outcome == (2, "", ran.err), command
    assert describe_directory(path.parent) == before
    return ran.err


def write_file(path: Path, raw: bytes) -> Path:
    """Write ``raw`` to ``path``, and return ``path``."""
    path.write_bytes(raw)
    return path


def write_bomb(path: Path, unpacked: int) -> Path:
    """Write a tarball of one file of zeros with gzip, which makes it a thousand times smaller."""
    step = 64 << 20
    head = make_member("zeros")
    # Only a size that eleven octal digits cannot hold may be a binary number.
    binary = b"\x80" + unpacked.to_bytes(11, "big")
    size = f"{unpacked:011o}\0".encode() if unpacked < 8**11 else binary
    start = gzip.compress(set_size(head, size), 1)
    zeros = gzip.compress(bytes(step), 9)
    with path.open("wb") as file:
        file.write(start)
        for _ in range(unpacked // step):
            file.write(zeros)
        file.write(gzip.compress(bytes(END_SIZE)))
    return path


def make_many_members(count: int) -> Iterator[bytes]:
    """Yield the headers of empty files; faster than `make_member`."""
    head = bytearray(make_member("d000/f0000000"))
    for number in range(count):
        name = b"d%03d/f%07d" % (number % 1000, number)
        head[: len(name)] = name
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        yield bytes(head)


def write_gzip(path: Path, chunks: Iterable[bytes]) -> Path:
    """Write an archive of ``chunks`` with gzip."""
    with gzip.open(path, "wb", 1) as file:
        for chunk in chunks:
            file.write(chunk)
        file.write(bytes(END_SIZE))
    return path
