"""Fixtures of the integration tests: the sample project, its old pack and a decoy host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from builders.run import run_bundle_fix
from builders.sandbox import require_sandbox

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_project"


def require_program(name: str, reason: str) -> str:
    """Return the path of a program, or skip the test with the reason."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {reason}")
    return found


class ObservedRun(NamedTuple):
    """A run of ``bundle-fix run``: the program's output and status, and the report on it."""

    output: str
    status: int
    report: dict[str, Any]

    def list_errors(self) -> list[tuple[str, str]]:
        """Return the rule and the subject of each error."""
        found = self.report["findings"]
        return [(f["rule"], f["subject"]) for f in found if f["severity"] == "error"]


def run_on_decoy_host(pack: Path, *command: str, options: tuple[str, ...] = ()) -> ObservedRun:
    """Run a program of ``pack`` on a host that has a decoy of every library of the pack."""
    require_sandbox()
    ran = run_bundle_fix("run", "--format", "json", *options, pack, *command)
    assert ran.returncode in (0, 1), ran.stderr
    report = json.loads(ran.stdout)
    return ObservedRun(ran.stderr, report["status"], report)


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
