"""Checks of the files of a release: each is used as its users use it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from release.commands import ReleaseError, run_command

SPEC_OF_TARBALL = Path(__file__).parents[1] / "standalone/bundle.toml"
"""The requirements of the standalone tarball."""
SPEC = """\
[bundle]
name = "small"
[[files]]
from = "true"
to = "bin/"
"""


def check_metadata(*packages: Path) -> None:
    """Check the metadata of a wheel and a source distribution as the package index does."""
    run_command(sys.executable, "-m", "twine", "check", "--strict", *packages, cwd=Path.cwd())


def check_installation(package: Path, version: str) -> None:
    """Install a wheel or a source distribution in a new venv and use it."""
    with tempfile.TemporaryDirectory() as name:
        venv = Path(name, "venv")
        run_command(sys.executable, "-m", "venv", venv, cwd=Path(name))
        run_command(venv / "bin/pip", "install", "--quiet", package, cwd=Path(name))
        check_program(venv / "bin/bundle-fix", version, Path(name))


def check_tarball(tarball: Path, version: str, *, runs_here: bool) -> None:
    """Check a standalone tarball with bundle-fix, and use its program if this machine can."""
    own = Path(sysconfig.get_path("scripts"), "bundle-fix")
    run_command(own, "check", "--spec", SPEC_OF_TARBALL, "--env", "hostile", tarball,
                cwd=tarball.parent)  # fmt: skip
    if not runs_here:
        return
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(tarball) as archive:
            archive.extractall(name, filter="data")
        (unpacked,) = Path(name).iterdir()
        check_program(unpacked / "bin/bundle-fix", version, Path(name))


def check_program(program: Path, version: str, directory: Path) -> None:
    """Ask an installed bundle-fix for its version, and let it make a small pack.

    Raises:
        ReleaseError: It fails, or has another version.
    """
    environ = {"PATH": os.defpath, "HOME": str(directory)}
    found = run_command(program, "--version", cwd=directory, environ=environ)
    if found != f"bundle-fix {version}\n":
        raise ReleaseError(f"{program}: its version is {found.strip()}, not {version}")
    shutil.copy(shutil.which("true") or "/bin/true", directory / "true")
    (directory / "bundle.toml").write_text(SPEC)
    run_command(program, "pack", "bundle.toml", "-o", "small.tar.gz", cwd=directory,
                environ=environ)  # fmt: skip
