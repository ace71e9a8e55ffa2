"""The files of a release: source distribution, wheel, standalone tarballs, SBOMs, checksums."""

from __future__ import annotations

import filecmp
import hashlib
import platform
import sys
import tarfile
import tempfile
from contextlib import nullcontext
from pathlib import Path

from bundle_fix.storage.atomic import move_aside
from release.commands import ReleaseError, report, run_command

ARCHITECTURES = ("x86_64", "aarch64")
"""The machines of the standalone tarballs, as uname(1) names them."""
CHECKSUMS = "SHA256SUMS"
BUILD_SDIST = "import sys; from scikit_build_core.build import *; build_sdist(sys.argv[1])"
BUILD_WHEEL = "import sys; from scikit_build_core.build import *; build_wheel(sys.argv[1])"


def get_tarball_name(version: str, architecture: str) -> str:
    """Return the file name of a standalone tarball."""
    return f"bundle-fix-{version}-linux-{architecture}.tar.gz"


def build_python_packages(source: Path, target: Path) -> tuple[Path, Path]:
    """Build the source distribution, and the wheel from it, in the directory ``target``.

    Returns:
        The paths of both.

    Raises:
        ReleaseError: A build failed, or the wheel that ``source`` makes has other bytes: then the
            source distribution lacks a file, or the build is not reproducible.
    """
    run_command(sys.executable, "-c", BUILD_SDIST, target, cwd=source)
    (sdist,) = target.glob("bundle_fix-*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        (unpacked,) = scratch.iterdir()
        run_command(sys.executable, "-c", BUILD_WHEEL, target, cwd=unpacked)
        (wheel,) = target.glob("bundle_fix-*.whl")
        again = scratch / "again"
        again.mkdir()
        run_command(sys.executable, "-c", BUILD_WHEEL, again, cwd=source)
        if not filecmp.cmp(wheel, again / wheel.name, shallow=False):
            raise ReleaseError(f"{wheel.name}: the source distribution makes another wheel")
    return sdist, wheel


def build_tarballs(source: Path, target: Path, version: str) -> list[Path]:
    """Build the standalone tarballs and their SBOMs in ``target``.

    Returns:
        The paths of the tarballs. One for another machine is left out, with a printed reason, if
        it cannot be built here.

    Raises:
        ReleaseError: The tarball for this machine cannot be built.
    """
    tarballs = []
    for architecture in ARCHITECTURES:
        tarball = target / get_tarball_name(version, architecture)
        try:
            run_command("make", "standalone", f"ARCH={architecture}", f"DIST={target}", cwd=source)
        except ReleaseError as error:
            if architecture == platform.machine():
                raise
            report(f"note: {tarball.name} is left out: {error}")
            continue
        tarballs.append(tarball)
    return tarballs


def write_checksums(directory: Path) -> None:
    """Write the SHA-256 of every file of ``directory`` in the format of sha256sum(1)."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(directory.iterdir())
    ]
    (directory / CHECKSUMS).write_text("".join(lines))


def publish(staged: Path, target: Path) -> None:
    """Replace the directory ``target`` by ``staged`` as a whole.

    Raises:
        ReleaseError: ``target`` has a file that is not of a release.
    """
    check_target(target)
    with move_aside(target) if target.exists() else nullcontext():
        staged.rename(target)


def check_target(target: Path) -> None:
    """Ensure that ``target`` can be replaced by a release.

    Raises:
        ReleaseError: It has a file that is not of a release.
    """
    for path in target.iterdir() if target.exists() else ():
        if not path.name.startswith(("bundle-fix-", "bundle_fix-", CHECKSUMS)):
            raise ReleaseError(f"{path}: not a file of a release; move it away")
