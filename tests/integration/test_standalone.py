"""The standalone tarball runs with no Python, no home and no more than the C library.

`make standalone` makes it; BUNDLE_FIX_TARBALL has its path.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from builders.cmake import install_cmake, write_project
from builders.pack import make_incident_pack
from bundle_fix import __version__

from .conftest import require_program

pytestmark = pytest.mark.xdist_group("standalone")

C_LIBRARY = ("ld-linux-*.so.*", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0",
             "librt.so.1", "libutil.so.1")  # fmt: skip
SUITES = os.environ.get("BUNDLE_FIX_SUITES", "bullseye").split()
"""The Debian releases in whose root file systems the program is run."""
FOUND = "error BF102 host-wins"


@pytest.fixture(scope="module")
def tarball() -> Path:
    path = os.environ.get("BUNDLE_FIX_TARBALL")
    if not path:
        pytest.skip("BUNDLE_FIX_TARBALL is not set: `make standalone` makes the tarball")
    return Path(path).resolve()


@pytest.fixture(scope="module")
def unpacked(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball in a directory with a blank in its name, which only root may change."""
    directory = tmp_path_factory.mktemp("a standalone")
    with tarfile.open(tarball) as archive:
        archive.extractall(directory, filter="tar")
    (top,) = directory.iterdir()
    return top


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with no variables but the given ones."""
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


def read_needed_glibc(path: Path) -> tuple[int, ...]:
    """Return the newest version of glibc that an ELF file needs."""
    found = subprocess.run(
        ["readelf", "--version-info", "--wide", path], capture_output=True, text=True, check=True
    ).stdout
    versions = re.findall(r"Name: GLIBC_([0-9.]+)", found)
    return max((tuple(map(int, text.split("."))) for text in versions), default=())


def test_only_lief_needs_a_glibc_after_2_17(unpacked: Path) -> None:
    files = [path for path in unpacked.rglob("*") if path.suffix == ".so"]
    files.append(unpacked / "bin/bundle-fix")
    assert len(files) > 8
    newer = {path.parent.name for path in files if read_needed_glibc(path) > (2, 17)}
    assert newer <= {"lief"}


def test_its_bill_of_materials_lists_python_packages_and_compiled_sources(tarball: Path) -> None:
    text = Path(str(tarball).removesuffix(".tar.gz") + ".cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    purls = {component.get("purl") for component in json.loads(text)["components"]}
    assert f"pkg:pypi/bundle-fix@{__version__}" in purls
    assert any(re.match(r"pkg:deb/debian/python3\.13@3\.13\.", purl or "") for purl in purls)


def test_its_digests_are_those_of_the_python_that_made_the_tarball(
    unpacked: Path, tarball: Path
) -> None:
    """Only the standalone program computes SHA-256 with the code of 7-Zip; BF622 compares."""
    spec = Path(__file__).parents[2] / "standalone/bundle.toml"
    checked = run(unpacked / "bin/bundle-fix", "check", "--spec", spec, tarball)
    assert checked.returncode == 0, checked.stdout


def test_it_is_found_through_symlinks_and_path(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle-fix").symlink_to("other")
    (tmp_path / "other").symlink_to(unpacked / "bin/bundle-fix")
    ran = run("/usr/bin/env", "bundle-fix", "--version", PATH=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (0, f"bundle-fix {__version__}\n")


def test_the_program_alone_says_what_is_missing(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    alone = shutil.copy(unpacked / "bin/bundle-fix", tmp_path / "bin")
    ran = run(alone)
    assert ran.returncode == 2
    assert re.fullmatch(r"bundle-fix: error: .*unpack the whole tarball.*\n", ran.stderr)


def test_no_variable_and_no_other_python_has_an_influence(unpacked: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/bundle_fix"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('the other one')")
    environ = {"PYTHONPATH": str(other.parent), "PYTHONHOME": "/gone", "PYTHONVERBOSE": "1",
               "PYTHONOPTIMIZE": "2", "PYTHONUSERBASE": str(tmp_path), "LC_ALL": "C"}  # fmt: skip
    ran = subprocess.run(
        [unpacked / "bin/bundle-fix", "--version", "--verbose"],
        env=environ, cwd=other.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"({unpacked}/bin/bundle-fix)" in ran.stdout
    assert ran.stderr == ""


def test_programs_get_the_environment_of_the_command(unpacked: Path, tmp_path: Path) -> None:
    program = tmp_path / "strace"
    program.write_text(f"#!/bin/sh\n/bin/cat /proc/$$/environ >{tmp_path}/environ\n")
    program.chmod(0o755)
    environ = {"PATH": str(tmp_path), "PYTHONPATH": "/p", "PYTHONHOME": "/h", "ODD": "a\nb"}
    run(unpacked / "bin/bundle-fix", "--version", "--verbose", **environ)
    lines = (tmp_path / "environ").read_text().split("\0")
    assert dict(line.split("=", 1) for line in lines if line) == environ


def test_cmake_finds_the_package_and_its_program(unpacked: Path, tmp_path: Path) -> None:
    lists = "project(demo NONE)\nfind_package(BundleFix 0.1 CONFIG REQUIRED)\n"
    lists = f"cmake_minimum_required(VERSION 3.20)\n{lists}"
    source = write_project(tmp_path / "source", {"CMakeLists.txt": lists})
    done = install_cmake("newest").run(
        "cmake", "-S", source, "-B", tmp_path / "build", f"-DBundleFix_DIR={unpacked}/cmake",
        "-G", "Ninja",
    )  # fmt: skip
    assert f"Found bundle-fix: {unpacked}/bin/bundle-fix (version {__version__})" in done.stdout


@pytest.fixture
def root(tmp_path: Path, unpacked: Path) -> Iterator[Path]:
    """A directory for a root file system that has the program in `/opt/bundle fix`."""
    if os.geteuid() != 0:
        pytest.skip("chroot(2) needs root")
    root = tmp_path / "root"
    (root / "opt").mkdir(parents=True)
    shutil.copytree(unpacked, root / "opt/bundle fix", symlinks=True)
    make_incident_pack(root / "opt/pack")
    yield root
    shutil.rmtree(root)


def run_in(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program in ``root``, read-only, as a user without a home and without a name."""
    script = (
        'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" &&'
        ' exec chroot --userspec=64321:64321 "$0" "/opt/bundle fix/bin/bundle-fix" "$@"'
    )
    command = ["unshare", "--mount", "sh", "-c", script, str(root), *arguments]
    ran = run(*command, PATH=os.environ["PATH"])
    if ran.stderr.startswith(("unshare: ", "mount: ")):
        pytest.skip(f"this machine permits no mounts: {ran.stderr.strip()}")
    return ran


def copy_c_library(root: Path) -> None:
    """Copy the loader and the C library of this machine, at their paths."""
    loader = subprocess.run(
        ["readelf", "--program-headers", "--wide", "/bin/sh"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    interpreter = Path(re.findall(r"interpreter: (.*)\]", loader.stdout)[0])
    directory = next(Path("/lib").glob("*/libc.so.6"), Path("/lib64/libc.so.6")).parent
    for path in (interpreter, *(path for name in C_LIBRARY for path in directory.glob(name))):
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def test_it_runs_with_only_the_c_library_and_nothing_writable(root: Path) -> None:
    copy_c_library(root)
    versions = run_in(root, "--version", "--verbose")
    assert f"bundle-fix {__version__}" in versions.stdout, versions.stderr
    assert re.search(r"^LIEF cannot be loaded: libstdc\+\+", versions.stdout, re.MULTILINE)
    checked = run_in(root, "check", "/opt/pack")
    assert FOUND in checked.stdout


@pytest.mark.parametrize("suite", SUITES)
def test_it_runs_in_another_release_of_debian(suite: str, root: Path) -> None:
    debootstrap = require_program("debootstrap", "it makes the root file systems of Debian")
    made = subprocess.run(
        [debootstrap, "--foreign", "--variant=minbase", suite, root],
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"debootstrap cannot make {suite}: {made.stdout.strip()[-200:]}")
    versions = run_in(root, "--version", "--verbose")
    assert re.search(r"^LIEF \d", versions.stdout, re.MULTILINE), versions.stdout
    checked = run_in(root, "check", "/opt/pack")
    assert FOUND in checked.stdout, checked.stderr
