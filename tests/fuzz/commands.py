"""Commands run in this process, with assertions that hold for every artifact."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bundle_fix.cli.main import main

CPU_LIMIT = 20.0
"""Limit of CPU seconds of a command for an artifact of a megabyte."""
CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check", "{}"), ("check", "--env", "hostile", "{}"), ("check", "--format", "json", "{}"),
    ("check", "-v", "{}"), ("tree", "{}"), ("why", "{}", "libx.so.4"),
    ("why", "{}", "--symbol", "malloc"), ("fix", "{}", "-o", "{out}"),
    ("fix", "{}", "--force", "-v", "-o", "{out}"), ("check", "--format", "github", "{}"),
)  # fmt: skip
ELF_COMMANDS: tuple[tuple[str, ...], ...] = (
    *COMMANDS, ("elf", "{}"), ("elf", "--format", "json", "{}"),
    ("elf", "--set-runpath", "$ORIGIN/../lib", "--editor", "inplace", "{}", "-o", "{out}"),
    ("elf", "--set-soname", "a-longer-soname.so", "--editor", "inplace", "{}", "-o", "{out}"),
)  # fmt: skip


class _OutputStream(io.TextIOWrapper):
    """A stream that keeps the written text and bytes."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, "utf-8", "surrogatepass", write_through=True)

    def getvalue(self) -> str:
        """Return the written text."""
        return self._bytes.getvalue().decode("utf-8", "surrogatepass")


@contextmanager
def _capture_output() -> Iterator[tuple[_OutputStream, _OutputStream]]:
    out, err = _OutputStream(), _OutputStream()
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = saved


class Outcome(NamedTuple):
    """An exit code and the output."""

    status: int
    out: str
    err: str


def run_command(command: Sequence[str], artifact: Path, directory: Path) -> Outcome:
    """Run one command on ``artifact``, the only file in ``directory``.

    Raises:
        AssertionError: the command violated an invariant.
    """
    output = directory / "output"
    arguments = [part.format(artifact, out=output) for part in command]
    before = artifact.read_bytes()
    start = time.process_time()
    with _capture_output() as (out, err):
        status = main(arguments)
    seconds = time.process_time() - start
    assert status in (0, 1, 2), status
    assert seconds < CPU_LIMIT, f"seconds {seconds:.1f} CPU seconds"
    for text in (out.getvalue(), err.getvalue()):
        bad = CONTROL_CHARACTERS.search(text)
        assert bad is None, f"raw {bad[0]!r} in {text[max(0, bad.start() - 99) : bad.end() + 9]!r}"
        assert "Traceback" not in text
    if status == 2:
        lines = err.getvalue().splitlines()
        assert lines, "missing error message"
        assert "bundle-fix: error: " in err.getvalue() or command[0] == "elf"
    assert artifact.read_bytes() == before, "the input changed"
    remaining = {path.name for path in directory.iterdir()} - {artifact.name}
    written = {"output"} if "-o" in command and status != 2 else set()
    assert remaining <= written, f"unexpected files: {remaining - written}"
    if remaining:
        output.unlink()
    return Outcome(status, out.getvalue(), err.getvalue())
