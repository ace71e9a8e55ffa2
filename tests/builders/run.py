"""Run of the command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from builders.fork_server import can_fork, run_in_fork

OTHER = os.environ.get("BUNDLE_FIX")
"""The program of another installation, which `make test BUNDLE_FIX=…` tests."""
PROGRAM = [str(Path(OTHER).absolute())] if OTHER else [sys.executable, "-m", "bundle_fix"]
TIMEOUT = 300


def run_bundle_fix(
    *arguments: str | Path, cwd: str | Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``bundle-fix`` and return its output and exit code; ``environ`` sets variables."""
    words = [str(argument) for argument in arguments]
    variables = {**os.environ, **environ}
    if OTHER is None and can_fork(variables):
        return run_in_fork(words, Path(cwd or "."), variables, TIMEOUT)
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )
