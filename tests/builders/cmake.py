"""Small CMake projects, and versions of CMake from PyPI that build them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builders.elf import CACHE

TOOLS = CACHE.parent / "tools"
REQUIREMENTS = {"oldest": "cmake==3.20.*", "newest": "cmake"}
"""The tested versions of CMake: the oldest supported one and the latest release."""
REMOVED_VARIABLES = (
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "DESTDIR",
    "PYTHONPATH",
    "MAKEFLAGS",
    "VIRTUAL_ENV",
)
"""Environment variables that would change a build."""

PROGRAM = """
#include <stdio.h>
int core_answer(void);
int main(void) { printf("answer %d\\n", core_answer()); return 0; }
"""
LIBRARY = "int core_answer(void) { return 42; }\n"
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(demo VERSION 1.2.3 LANGUAGES C)
include(GNUInstallDirs)
set(CMAKE_INSTALL_LIBDIR lib)
find_package(BundleFix CONFIG REQUIRED)
add_subdirectory(core)
add_executable(app app.c)
target_link_libraries(app PRIVATE core)
install(TARGETS app RUNTIME COMPONENT run)
"""
CORE = """\
add_library(core SHARED core.c)
set_target_properties(core PROPERTIES VERSION 1.2.3 SOVERSION 1)
install(TARGETS core LIBRARY COMPONENT libs)
"""
SPEC = """\
[bundle]
name = "demo-{cmake.CMAKE_PROJECT_VERSION}"

[[files]]
from = "{target.app}"
to   = "bin/"

[[libraries]]
from = "{target.core}"
"""


@contextmanager
def lock_tool_directory(name: str) -> Iterator[Path]:
    """Lock a directory of the cache, so that only one test process at a time fills it."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield TOOLS / name


def make_build_environment(path: str = "", **extra: str) -> dict[str, str]:
    """Return an environment without variables that change builds, with ``path`` first in PATH."""
    environ = {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES}
    return {**environ, "PATH": f"{path}:{environ['PATH']}" if path else environ["PATH"], **extra}


@dataclass(frozen=True)
class CMake:
    """One version of CMake with a generator."""

    bin: Path
    generator: str = "Ninja"

    def run(
        self, program: str, *arguments: str | Path, cwd: str | Path | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``cmake``, ``cpack`` or ``ctest``; stdout of the result includes stderr."""
        command = [self.bin / program, *arguments]
        path = f"{self.bin}:{Path(sys.executable).parent}"
        return subprocess.run(
            command, cwd=cwd, env=make_build_environment(path, **extra),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        )  # fmt: skip

    def configure(
        self, source: Path, build: Path, *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Configure a project that uses the package under test."""
        root = f"-DBundleFix_DIR={find_cmake_directory()}"
        return self.run("cmake", "-S", source, "-B", build, "-G", self.generator, root, *options)


def find_cmake_directory() -> str:
    """Return the directory that ``bundle-fix cmake-dir`` prints."""
    command = [sys.executable, "-m", "bundle_fix", "cmake-dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def install_cmake(version: str, generator: str = "Ninja") -> CMake:
    """Install CMake and Ninja from PyPI; ``version`` is a key of `REQUIREMENTS`."""
    with lock_tool_directory(version) as directory:
        if not (directory / "done").exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
            done = subprocess.run(
                [*pip, "--target", directory, REQUIREMENTS[version], "ninja"], check=False
            )
            if done.returncode != 0:
                if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
                    pytest.fail(f"pip cannot install {REQUIREMENTS[version]}")
                pytest.skip(f"pip cannot install {REQUIREMENTS[version]}: there may be no network")
            for name in ("cmake", "cpack", "ctest"):
                program = directory / "cmake/data/bin" / name
                (directory / "bin" / name).unlink(missing_ok=True)
                (directory / "bin" / name).symlink_to(program)
            (directory / "done").touch()
    return CMake(directory / "bin", generator)


@dataclass(frozen=True)
class Project:
    """A project and its build directory, with the CMake that builds it."""

    source: Path
    build: Path
    cmake: CMake
    config: tuple[str, ...] = field(default=())

    def make(self, *targets: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Build the targets, or all if none is given; ``extra`` are environment variables."""
        selection = ["--target", *targets] if targets else []
        return self.cmake.run("cmake", "--build", self.build, *selection, *self.config, **extra)

    def install(self, *options: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``cmake --install``."""
        return self.cmake.run("cmake", "--install", self.build, *self.config, *options, **extra)


def write_project(directory: Path, files: Mapping[str, str]) -> Path:
    """Write the files of a project into a directory and return it."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def write_demo_project(
    directory: Path, extra: str = "bundle_fix_install()\n", **files: str
) -> Path:
    """Write a project with a program and a library; ``extra`` ends its CMakeLists.txt."""
    return write_project(
        directory,
        {
            "CMakeLists.txt": PROJECT + extra,
            "core/CMakeLists.txt": CORE,
            "core/core.c": LIBRARY,
            "app.c": PROGRAM,
            "bundle.toml": SPEC,
            **files,
        },
    )


def build_project(cmake: CMake, source: Path, build: Path, *options: str) -> Project:
    """Configure and build a project; both must succeed."""
    done = cmake.configure(source, build, *options)
    assert done.returncode == 0, done.stdout
    config = ("--config", "Release") if "Multi" in cmake.generator else ()
    project = Project(source, build, cmake, config)
    done = project.make()
    assert done.returncode == 0, done.stdout
    return project
