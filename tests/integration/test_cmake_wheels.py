"""bundle_fix_install() in a build of scikit-build-core, without the build backend."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from builders.cmake import CMake, build_project, install_cmake, write_project
from builders.elf import build_elf

pytestmark = pytest.mark.xdist_group("cmake")

LISTS = """\
cmake_minimum_required(VERSION 3.20)
project(demo C)
find_package(BundleFix CONFIG REQUIRED)
add_library(ext MODULE ext.c)
target_link_libraries(ext PRIVATE ${CMAKE_SOURCE_DIR}/third/libdep.so.1)
set_target_properties(ext PROPERTIES PREFIX "" INSTALL_RPATH "$ORIGIN")
install(TARGETS ext LIBRARY DESTINATION demo)
bundle_fix_install(SPEC bundle.toml ${MORE})
"""
SPEC = """\
[bundle]
name = "demo"
[variables]
deeper = { value = "third/deeper" }
[closure]
bundle = ["libdep.so.1", "libdeep.so.2"]
search = ["third", "{deeper}"]
"""


@pytest.fixture(scope="module")
def cmake() -> CMake:
    return install_cmake("newest")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A project whose module needs a library that needs another, which only `search` finds."""
    third = tmp_path / "s/third"
    build_elf(third / "deeper/libdeep.so.2", soname="libdeep.so.2")
    build_elf(third / "libdep.so.1", soname="libdep.so.1", needed=["libdeep.so.2"])
    files = {"CMakeLists.txt": LISTS, "bundle.toml": SPEC}
    files["ext.c"] = "int from_libdep(void);\nint ext(void) { return from_libdep(); }\n"
    return write_project(tmp_path / "s", files)


def set_state(state: str, platlib: Path, prefix: str = "") -> list[str]:
    """Return the variables that scikit-build-core sets."""
    return [
        f"-DSKBUILD_STATE={state}", "-DSKBUILD_PROJECT_NAME=my-demo",
        f"-DSKBUILD_PLATLIB_DIR={platlib}", f"-DCMAKE_INSTALL_PREFIX={platlib / prefix}",
        "-DCMAKE_SHARED_LINKER_FLAGS=-Wl,--allow-shlib-undefined",
        "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,--allow-shlib-undefined",
    ]  # fmt: skip


def load(path: Path) -> None:
    """Open a library in another process, as the import of an extension module does."""
    script = f"import ctypes; ctypes.CDLL({str(path)!r})"
    subprocess.run([sys.executable, "-c", script], check=True, cwd="/", stdout=subprocess.DEVNULL)


def test_bundled_libraries_of_a_wheel_are_beside_the_package(
    cmake: CMake, source: Path, tmp_path: Path
) -> None:
    platlib = tmp_path / "platlib"
    project = build_project(cmake, source, tmp_path / "b", *set_state("wheel", platlib))
    assert project.install().returncode == 0
    names = sorted(p.name for p in platlib.glob("my_demo.libs/*"))
    assert [re.sub(r"-[0-9a-f]{8}", "", name) for name in names] == ["libdeep.so.2", "libdep.so.1"]
    assert sorted(p.name for p in platlib.iterdir()) == ["demo", "my_demo.libs"]
    load(platlib / "demo/ext.so")


def test_bundled_libraries_of_a_wheel_are_in_the_package_that_is_the_prefix(
    cmake: CMake, source: Path, tmp_path: Path
) -> None:
    platlib = tmp_path / "platlib"
    options = set_state("wheel", platlib, "pkg")
    assert build_project(cmake, source, tmp_path / "b", *options).install().returncode == 0
    assert len(list(platlib.glob("pkg/lib/lib*"))) == 2
    load(platlib / "pkg/demo/ext.so")


@pytest.mark.parametrize("directory", ["lib", "../lib64", "."])
def test_a_directory_that_all_projects_share_is_refused(
    cmake: CMake, source: Path, tmp_path: Path, directory: str
) -> None:
    prefix = "pkg" if directory.startswith("..") else ""
    options = set_state("wheel", tmp_path / "platlib", prefix)
    done = cmake.configure(source, tmp_path / "b", *options, f"-DMORE=LIBDIR;{directory}")
    assert done.returncode != 0
    assert "overwrite each other's libraries" in " ".join(done.stdout.split())


def test_an_editable_installation_finds_what_the_wheel_would_bundle(
    cmake: CMake, source: Path, tmp_path: Path
) -> None:
    platlib = tmp_path / "platlib"
    project = build_project(cmake, source, tmp_path / "b", *set_state("editable", platlib))
    assert project.install().returncode == 0
    load(platlib / "demo/ext.so")
    load(tmp_path / "b/ext.so")
