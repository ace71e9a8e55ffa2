"""Run of the command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OTHER = os.environ.get("BUNDLE_FIX")
"""The program of another installation, which `make test BUNDLE_FIX=…` tests."""
PROGRAM = [str(Path(OTHER).absolute())] if OTHER else [sys.executable, "-m", "bundle_fix"]


def run_bundle_fix(
    *arguments: str | Path, cwd: str | Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``bundle-fix`` and return its output and exit code; ``environ`` sets variables."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
