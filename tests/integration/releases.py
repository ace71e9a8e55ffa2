"""The files of a release as pipelines and users download them, with another program inside."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from release.files import get_tarball_name, write_checksums

from builders.pack import make_tarball
from bundle_fix import __version__

OWN_PROGRAM = f'exec "{sys.executable}" -m bundle_fix "$@"'
"""A line of shell that runs the bundle-fix of the tests."""


def write_script(path: Path, line: str) -> None:
    """Write an executable shell script of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def make_release(directory: Path, version: str = __version__, program: str = OWN_PROGRAM) -> Path:
    """Make the files of a release in ``directory`` and return the tarball for this machine."""
    directory.mkdir(parents=True)
    top = directory / "files"
    write_script(top / "bin/bundle-fix", program)
    name = get_tarball_name(version, platform.machine())
    make_tarball(top, directory / name, name.removesuffix(".tar.gz"))
    shutil.rmtree(top)
    write_checksums(directory)
    return directory / name
