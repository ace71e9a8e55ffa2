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
"""What hostile_host.py exits with where no chroot is allowed."""


def require_program(name: str, reason: str) -> str:
    """The path of a program, or a skip that says what lacks it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {reason}")
    return found


def on_hostile_host(
    pack: Path, *command: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program of ``pack`` in a chroot with a decoy of every library that the pack has."""
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
    """The sample project, built: a copy of its tree with its CMake build in build/latest."""
    cmake = require_program("cmake", "`make test` installs it from PyPI")
    require_program("c++", "the sample is a C++ project")
    folder = tmp_path_factory.mktemp("sample project")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("build", "output", "demo", "__pycache__")
    shutil.copytree(SAMPLE, tree, ignore=ignored, symlinks=True)
    build = tree / "build/latest"
    environ = {k: v for k, v in os.environ.items() if k not in ("CXXFLAGS", "LDFLAGS")}
    for command in ([cmake, "-S", tree, "-B", build], [cmake, "--build", build, "--parallel", "4"]):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return tree


@pytest.fixture(scope="session")
def old_pack(sample: Path) -> Path:
    """The pack as the old script makes it."""
    out = Path(tempfile.mkdtemp(dir=sample.parent))
    done = subprocess.run(
        [sample / "old_pack.sh", sample, sample / "build/latest", out],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.splitlines()[-1])
