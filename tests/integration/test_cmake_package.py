"""find_package(BundleFix): the program of the same installation is used, or none."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

import bundle_fix
from builders.cmake import CMake, install_cmake, write_project
from builders.run import run_bundle_fix as run

pytestmark = pytest.mark.xdist_group("cmake")
LISTS = """\
cmake_minimum_required(VERSION 3.20)
project(demo LANGUAGES NONE)
find_package(BundleFix{version} CONFIG REQUIRED)
message(STATUS "version ${{BundleFix_VERSION}} by ${{BundleFix_EXECUTABLE}}.")
"""


@pytest.fixture(scope="session")
def newest() -> CMake:
    return install_cmake("newest")


def configured(cmake: CMake, tmp_path: Path, asked: str = "", root: Path | None = None) -> str:
    source = write_project(tmp_path / "s", {"CMakeLists.txt": LISTS.format(version=asked)})
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    options = [] if root is None else [f"-DBundleFix_ROOT={root}"]
    done = cmake.configure(source, tmp_path / "b", *options)
    return re.sub(r"\n +", " ", done.stdout)


def test_the_package_and_its_metadata_have_one_version() -> None:
    assert version("bundle-fix") == bundle_fix.__version__


def test_cmake_dir_tells_where_the_package_is() -> None:
    directory = Path(run("cmake-dir").stdout.strip())
    assert (directory / "BundleFixConfig.cmake").is_file()


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_versions_of_package_and_program_are_one(which: str, tmp_path: Path) -> None:
    said = configured(install_cmake(which), tmp_path)
    program = Path(sys.executable).parent / "bundle-fix"
    assert f"version {bundle_fix.__version__} by {program}." in said


@pytest.mark.parametrize("asked", [" 0.1", " 0.1.0 EXACT", " 0.0.5...<0.9"])
def test_a_version_that_is_old_enough_is_found(newest: CMake, tmp_path: Path, asked: str) -> None:
    assert f"version {bundle_fix.__version__} by" in configured(newest, tmp_path, asked)


@pytest.mark.parametrize("asked", [" 7.2", " 0.0.5 EXACT", " 0.0.5...<0.1"])
def test_another_version_is_refused(newest: CMake, tmp_path: Path, asked: str) -> None:
    said = configured(newest, tmp_path, asked)
    assert f"BundleFixConfig.cmake, version: {bundle_fix.__version__}" in said


def copy_of(directory: Path, version: str) -> Path:
    """A copy of the CMake package, which belongs to no program."""
    origin = Path(run("cmake-dir").stdout.strip())
    shutil.copytree(origin, directory / "bundle_fix/cmake")
    (directory / "bundle_fix/__init__.py").write_text(f'__version__ = "{version}"\n')
    return directory / "bundle_fix/cmake"


def test_a_program_of_another_version_is_refused(newest: CMake, tmp_path: Path) -> None:
    said = configured(newest, tmp_path, root=copy_of(tmp_path / "elsewhere", "0.0.1"))
    assert "The bundle-fix 0.0.1 that" in said
    assert "was not found" in said
    assert f"version {bundle_fix.__version__}" in said


def test_the_only_program_there_is_serves_a_copy_of_the_package(
    newest: CMake, tmp_path: Path
) -> None:
    root = copy_of(tmp_path / "elsewhere", bundle_fix.__version__)
    assert f"by {Path(sys.executable).parent}/bundle-fix." in configured(
        newest, tmp_path, root=root
    )


def test_the_tool_refuses_a_build_that_another_version_configured() -> None:
    refused = run("--require=0.0.1", "pack", "x.toml")
    assert (refused.returncode, refused.stderr) == (
        2,
        f"bundle-fix: error: this is bundle-fix {bundle_fix.__version__}, but the build was"
        " configured with 0.0.1 (run cmake again)\n",
    )
    assert run(f"--require={bundle_fix.__version__}", "cmake-dir").returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "program not found"),
        (
            "#!/bin/sh\necho 'No module named click' >&2; exit 1\n",
            "it does not run: No module named",
        ),
    ],
)
def test_a_program_that_does_not_run_is_told_with_the_reason(
    newest: CMake, tmp_path: Path, text: str | None, message: str
) -> None:
    program = tmp_path / "program"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755)
    source = write_project(tmp_path / "s", {"CMakeLists.txt": LISTS.format(version="")})
    done = newest.configure(source, tmp_path / "b", f"-DBundleFix_EXECUTABLE={program}")
    assert f"{program}: {message}" in " ".join(done.stdout.split())


def test_an_installation_below_a_prefix_of_its_own_is_used(newest: CMake, tmp_path: Path) -> None:
    prefix = tmp_path / "prä fix"
    # An environment without the editable installation, which would come before any other.
    python = tmp_path / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = tmp_path.glob("env/lib/python*/site-packages")
    (site / "zz_here.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    wheel = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "-w", tmp_path, Path(__file__).parents[2]],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert wheel.returncode == 0, wheel.stderr
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed",
         "--prefix", prefix, *tmp_path.glob("*.whl")],
        check=True,
    )  # fmt: skip
    (root,) = prefix.glob("lib*/python*/site-packages/bundle_fix/cmake")
    assert f"by {prefix}/bin/bundle-fix." in configured(newest, tmp_path, root=root)
