"""The steps of a release; see CONTRIBUTING.md."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from bundle_fix import __version__
from release.checks import check_installation, check_metadata, check_tarball
from release.commands import ReleaseError, report, run_command
from release.files import (
    CHECKSUMS,
    build_python_packages,
    build_tarballs,
    check_target,
    get_tarball_name,
    publish,
    write_checksums,
)

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
STAGING = ROOT / ".cache/release"
"""Where the files are until all of them have passed their checks."""


def main() -> int:
    """Make a release; return the exit code."""
    try:
        make_release()
    except ReleaseError as error:
        sys.stderr.write(f"make release: {error}\n")
        return 1
    return 0


def make_release() -> None:
    """Build, check and publish all files of the release of the last commit.

    Raises:
        ReleaseError: A build or a check failed; dist/ is as it was.
    """
    require_committed_tree()
    check_target(DIST)
    os.environ["SOURCE_DATE_EPOCH"] = read_epoch()
    shutil.rmtree(STAGING, ignore_errors=True)
    staged = STAGING / "dist"
    staged.mkdir(parents=True)
    packages = build_python_packages(ROOT, staged)
    tarballs = build_tarballs(ROOT, staged, __version__)
    check_metadata(*packages)
    for package in packages:
        check_installation(package, __version__)
    here = get_tarball_name(__version__, platform.machine())
    for tarball in tarballs:
        check_tarball(tarball, __version__, runs_here=tarball.name == here)
    write_checksums(staged)
    publish(staged, DIST)
    report(f"dist/:\n{(DIST / CHECKSUMS).read_text()}".rstrip())


def require_committed_tree() -> None:
    """Ensure that the release is made of the last commit and nothing else.

    Raises:
        ReleaseError: A file differs from it.
    """
    changed = run_command("git", "status", "--porcelain", cwd=ROOT).splitlines()
    if changed:
        raise ReleaseError(f"{len(changed)} files are not committed, such as {changed[0][3:]}")


def read_epoch() -> str:
    """Return the time of the last commit, the date of all files of the release."""
    return run_command("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()


if __name__ == "__main__":
    sys.exit(main())
