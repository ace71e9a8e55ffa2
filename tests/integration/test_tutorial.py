"""The commands of docs/tutorial.md, run one after the other; they print what the page shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders.consoles import is_output, read_steps
from builders.sandbox import find_obstacle

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"

pytestmark = pytest.mark.xdist_group("sample")


def run_in_shell(command: str, directory: Path) -> str:
    """Return what a command prints, as on a terminal with 80 columns."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=directory, env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    ).stdout  # fmt: skip


def test_the_commands_of_the_tutorial_print_what_it_shows(sample: Path) -> None:
    steps = list(read_steps(PAGE.read_text()))
    assert len(steps) > 10
    if find_obstacle():
        steps = [step for step in steps if not step.command.startswith("bundle-fix run ")]
    try:
        for command, output in steps:
            printed = run_in_shell(command, sample)
            assert is_output(output, printed), f"$ {command}\n{printed}\nexpected:\n{output}"
    finally:
        shutil.rmtree(sample / "tutorial", ignore_errors=True)
