"""Cross builds: packs and installations have the libraries of the target, wherever they are."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from builders.cmake import Project, build_project, install_cmake, write_project
from builders.elf import CROSS, build_elf, require_toolchain
from integration.conftest import require_program

pytestmark = pytest.mark.xdist_group("cmake")

TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_FIND_ROOT_PATH "${CMAKE_CURRENT_LIST_DIR}/target root")
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
"""
# Without RPATHs in the build tree, only the build itself knows where it found the libraries.
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(demo VERSION 1.0 LANGUAGES C)
find_package(BundleFix CONFIG REQUIRED)
set(CMAKE_SKIP_RPATH ON)
find_library(DEEP deep REQUIRED)
add_subdirectory(app)
bundle_fix_pack(pack bundle.toml)
bundle_fix_install(SPEC bundle.toml LIBDIR lib/demo)
"""
APP = """\
add_library(wide SHARED IMPORTED)
set_target_properties(wide PROPERTIES IMPORTED_LOCATION "${CMAKE_SOURCE_DIR}/wide/libwide.so.2")
target_link_directories(wide INTERFACE "${CMAKE_SOURCE_DIR}/other")
target_link_libraries(wide INTERFACE other)
add_executable(app app.c)
target_link_directories(app PRIVATE "${CMAKE_SOURCE_DIR}/other" "${CMAKE_SOURCE_DIR}/wide")
target_link_libraries(app PRIVATE ${DEEP} wide)
install(TARGETS app DESTINATION bin)
"""
SPEC = """\
[bundle]
name = "demo-{arch}-glibc{glibc}"

[variables]
arch  = { builtin = "arch" }
glibc = { builtin = "glibc" }

[debug]
strip = "split"

[[files]]
from = "{target.app}"
to   = "bin/"

[closure]
bundle = ["libdeep.so.*", "libwide.so.*", "libother.so.*"]
"""
LIBRARIES = ("libdeep.so.1", "libother.so.3", "libwide.so.2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    require_toolchain(CROSS["aarch64"])
    top = tmp_path_factory.mktemp("cross")
    source = top / "source"
    files = {
        "CMakeLists.txt": PROJECT,
        "toolchain.cmake": TOOLCHAIN,
        "bundle.toml": SPEC,
        "app/CMakeLists.txt": APP,
        "app/app.c": "int main(void) { return 0; }\n",
    }
    write_project(source, files)
    for path, soname in {
        "target root/usr/lib/libdeep.so": "libdeep.so.1",
        "wide/libwide.so.2": "libwide.so.2",
        "other/libother.so": "libother.so.3",
    }.items():
        build_elf(source / path, soname=soname, toolchain=CROSS["aarch64"])
    return build_project(
        install_cmake("newest"), source, top / "build",
        f"-DCMAKE_TOOLCHAIN_FILE={source}/toolchain.cmake",
        "-DCMAKE_C_FLAGS=-g -Wl,--no-as-needed",
    )  # fmt: skip


def run_with_qemu(program: Path) -> str:
    """Run a program for aarch64 and return the paths of the libraries that its loader maps."""
    qemu = require_program("qemu-aarch64", "the programs are for aarch64")
    command = [
        qemu,
        "-L",
        "/usr/aarch64-linux-gnu",
        "-E",
        "LD_TRACE_LOADED_OBJECTS=1",
        str(program),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_pack_is_named_after_the_target_and_has_its_libraries(
    project: Project, tmp_path: Path
) -> None:
    done = project.make("pack")
    assert done.returncode == 0, done.stdout
    packs = sorted(path.name for path in project.build.glob("*.tar.gz"))
    version = packs[0].removeprefix("demo-aarch64-glibc").removesuffix(".debug.tar.gz")
    assert packs == [f"demo-aarch64-glibc{version}{end}.tar.gz" for end in (".debug", "")]
    assert version.startswith("2.")
    with tarfile.open(project.build / packs[1]) as archive:
        archive.extractall(tmp_path, filter="tar")
    mapped = run_with_qemu(tmp_path / packs[1].removesuffix(".tar.gz") / "bin/app")
    assert all(f"{name} => {tmp_path}" in mapped for name in LIBRARIES), mapped


def test_an_installation_has_the_libraries_that_the_build_found(
    project: Project, tmp_path: Path
) -> None:
    done = project.install("--prefix", tmp_path / "i")
    assert done.returncode == 0, done.stdout
    mapped = run_with_qemu(tmp_path / "i/bin/app")
    assert all(f"{name} => {tmp_path}" in mapped for name in LIBRARIES), mapped
