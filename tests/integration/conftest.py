"""Fixtures of the integration tests: the sample project, its old pack and a hostile host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_project"
NO_CHROOT = 3
"""Exit code of hostile_host.py if chroot(2) is not allowed."""


def require_program(name: str, reason: str) -> str:
    """Return the path of a program, or skip the test with the reason."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {reason}")
    return found


def run_on_hostile_host(
    pack: Path, *command: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program of ``pack`` in a chroot that has a decoy of every library of the pack."""
    script = SAMPLE / "hostile_host.py"
    ran = subprocess.run(
        [sys.executable, script, "--pack", pack, *options, "--", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if ran.returncode == NO_CHROOT:
        pytest.skip(f"no hostile host here: {ran.stderr.strip().splitlines()[-1]}")
    return ran


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sample project, build it in build/latest, and return the copy."""
    cmake = require_program("cmake", "`make test` installs it from PyPI")
    require_program("c++", "the sample is a C++ project")
    directory = tmp_path_factory.mktemp("sample project")
    tree = directory / "tree"
    ignored = shutil.ignore_patterns("build", "output", "demo", "__pycache__")
    shutil.copytree(SAMPLE, tree, ignore=ignored, symlinks=True)
    build = tree / "build/latest"
    environ = {k: v for k, v in os.environ.items() if k not in ("CXXFLAGS", "LDFLAGS")}
    commands: list[list[str | Path]] = [
        [cmake, "-S", tree, "-B", build],
        [cmake, "--build", build, "--parallel", "4"],
    ]
    for command in commands:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return tree


@pytest.fixture(scope="session")
def old_pack(sample: Path) -> Path:
    """The pack that the old script makes."""
    out = Path(tempfile.mkdtemp(dir=sample.parent))
    done = subprocess.run(
        [sample / "old_pack.sh", sample, sample / "build/latest", out],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.splitlines()[-1])
