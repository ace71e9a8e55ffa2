"""Commands run in this process, and what must be true of each whatever it was given."""

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

SOON = 20.0
"""Seconds of the processor that no command may take for an artifact of a megabyte."""
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
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


class _Terminal(io.TextIOWrapper):
    """What is written, as text or as bytes."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, "utf-8", "surrogatepass", write_through=True)

    def getvalue(self) -> str:
        """All that was written."""
        return self._bytes.getvalue().decode("utf-8", "surrogatepass")


@contextmanager
def _captured() -> Iterator[tuple[_Terminal, _Terminal]]:
    out, err = _Terminal(), _Terminal()
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = saved


class Outcome(NamedTuple):
    """An exit status, and what was printed."""

    status: int
    out: str
    err: str


def run(command: Sequence[str], artifact: Path, folder: Path) -> Outcome:
    """Run one command on ``artifact``, which lies alone in ``folder``.

    Raises:
        AssertionError: it misbehaved.
    """
    output = folder / "output"
    arguments = [part.format(artifact, out=output) for part in command]
    before = artifact.read_bytes()
    start = time.process_time()
    with _captured() as (out, err):
        status = main(arguments)
    took = time.process_time() - start
    assert status in (0, 1, 2), status
    assert took < SOON, f"it took {took:.1f} s"
    for text in (out.getvalue(), err.getvalue()):
        bad = OBEYED.search(text)
        assert bad is None, f"raw {bad[0]!r} in {text[max(0, bad.start() - 99) : bad.end() + 9]!r}"
        assert "Traceback" not in text
    if status == 2:
        lines = err.getvalue().splitlines()
        assert lines, "no word about what is wrong"
        assert "bundle-fix: error: " in err.getvalue() or command[0] == "elf"
    assert artifact.read_bytes() == before, "the input changed"
    left = {path.name for path in folder.iterdir()} - {artifact.name}
    written = {"output"} if "-o" in command and status != 2 else set()
    assert left <= written, f"it left {left - written}"
    if left:
        output.unlink()
    return Outcome(status, out.getvalue(), err.getvalue())
