"""find_package(BundleFix): only the program of the same installation is used."""

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
from builders.run import run_bundle_fix

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


def configure(cmake: CMake, tmp_path: Path, requested: str = "", root: Path | None = None) -> str:
    source = write_project(tmp_path / "s", {"CMakeLists.txt": LISTS.format(version=requested)})
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    options = [] if root is None else [f"-DBundleFix_DIR={root}"]
    done = cmake.configure(source, tmp_path / "b", *options)
    return re.sub(r"\n +", " ", done.stdout)


def test_the_package_and_its_metadata_have_the_same_version() -> None:
    assert version("bundle-fix") == bundle_fix.__version__


def test_cmake_dir_prints_the_directory_of_the_package() -> None:
    directory = Path(run_bundle_fix("cmake-dir").stdout.strip())
    assert (directory / "BundleFixConfig.cmake").is_file()


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_program_has_the_version_of_the_package(which: str, tmp_path: Path) -> None:
    output = configure(install_cmake(which), tmp_path)
    program = Path(sys.executable).parent / "bundle-fix"
    assert f"version {bundle_fix.__version__} by {program}." in output


@pytest.mark.parametrize("requested", [" 0.1", " 0.1.0 EXACT", " 0.0.5...<0.9"])
def test_a_compatible_version_is_found(newest: CMake, tmp_path: Path, requested: str) -> None:
    assert f"version {bundle_fix.__version__} by" in configure(newest, tmp_path, requested)


@pytest.mark.parametrize("requested", [" 7.2", " 0.0.5 EXACT", " 0.0.5...<0.1"])
def test_an_incompatible_version_is_refused(newest: CMake, tmp_path: Path, requested: str) -> None:
    output = configure(newest, tmp_path, requested)
    assert f"BundleFixConfig.cmake, version: {bundle_fix.__version__}" in output


def copy_package(directory: Path, version: str) -> Path:
    """Copy the CMake package to a directory without a program."""
    origin = Path(run_bundle_fix("cmake-dir").stdout.strip())
    shutil.copytree(origin, directory / "bundle_fix/cmake")
    (directory / "bundle_fix/__init__.py").write_text(f'__version__ = "{version}"\n')
    return directory / "bundle_fix/cmake"


def test_a_program_of_another_version_is_refused(newest: CMake, tmp_path: Path) -> None:
    output = configure(newest, tmp_path, root=copy_package(tmp_path / "elsewhere", "0.0.1"))
    assert "bundle-fix 0.0.1, the program of" in output
    assert "was not found" in output
    assert f"version {bundle_fix.__version__}" in output


def test_a_copy_of_the_package_uses_the_only_program(newest: CMake, tmp_path: Path) -> None:
    root = copy_package(tmp_path / "elsewhere", bundle_fix.__version__)
    assert f"by {Path(sys.executable).parent}/bundle-fix." in configure(newest, tmp_path, root=root)


def test_a_build_configured_with_another_version_is_refused() -> None:
    refused = run_bundle_fix("--require=0.0.1", "pack", "x.toml")
    assert (refused.returncode, refused.stderr) == (
        2,
        f"bundle-fix: error: this is bundle-fix {bundle_fix.__version__}, but the build was"
        " configured with 0.0.1 (run cmake again)\n",
    )
    assert run_bundle_fix(f"--require={bundle_fix.__version__}", "cmake-dir").returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "program not found"),
        (
            "#!/bin/sh\necho 'No module named click' >&2; exit 1\n",
            "does not run: No module named",
        ),
    ],
)
def test_a_program_that_does_not_run_is_reported_with_the_reason(
    newest: CMake, tmp_path: Path, text: str | None, message: str
) -> None:
    program = tmp_path / "program"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755)
    source = write_project(tmp_path / "s", {"CMakeLists.txt": LISTS.format(version="")})
    done = newest.configure(source, tmp_path / "b", f"-DBundleFix_EXECUTABLE={program}")
    assert f"{program}: {message}" in " ".join(done.stdout.split())


def test_an_installation_in_another_prefix_is_used(newest: CMake, tmp_path: Path) -> None:
    prefix = tmp_path / "prä fix"
    # The new environment does not have the editable installation, which would be found first.
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
    assert f"by {prefix}/bin/bundle-fix." in configure(newest, tmp_path, root=root)
