"""Commands of a release: each is printed, and its output only if it fails."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class ReleaseError(Exception):
    """A release that cannot be made; the text is one line with the reason."""


def report(line: str) -> None:
    """Print a line on the progress of the release."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_command(*command: str | Path, cwd: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        ReleaseError: It failed; its output has been printed.
    """
    words = [str(word) for word in command]
    report(f"$ {shlex.join(words)}")
    try:
        ran = subprocess.run(
            words, cwd=cwd, env=environ, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise ReleaseError(f"{words[0]} cannot be run: {error.strerror}") from error
    if ran.returncode != 0:
        report(f"{ran.stdout}{ran.stderr}".rstrip())
        raise ReleaseError(f"{shlex.join(words[:4])} … failed with exit code {ran.returncode}")
    return ran.stdout
