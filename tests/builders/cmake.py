"""Small CMake projects, and the CMake versions that build them, taken from PyPI once."""

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
WANTED = {"oldest": "cmake==3.20.*", "newest": "cmake"}
"""The versions of CMake that are tried: the oldest that is supported, and the newest there is."""
UNWANTED = ("CFLAGS", "CXXFLAGS", "LDFLAGS", "DESTDIR", "PYTHONPATH", "MAKEFLAGS", "VIRTUAL_ENV")

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
    """A folder of the cache that one test process at a time may fill."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield TOOLS / name


def make_build_environment(path: str = "", **more: str) -> dict[str, str]:
    """An environment without what would change builds, and with ``path`` before PATH."""
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return {**kept, "PATH": f"{path}:{kept['PATH']}" if path else kept["PATH"], **more}


@dataclass(frozen=True)
class CMake:
    """One version of CMake, and the generator it is used with."""

    bin: Path
    generator: str = "Ninja"

    def run(
        self, program: str, *arguments: str | Path, cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``install_cmake``, ``cpack`` or ``ctest``; stdout and stderr come together."""
        command = [self.bin / program, *arguments]
        return subprocess.run(
            command, cwd=cwd, env=make_build_environment(f"{self.bin}:{Path(sys.executable).parent}", **more),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        )  # fmt: skip

    def configure(
        self, source: Path, build: Path, *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Configure a project with the BundleFix of the package under test."""
        root = f"-DBundleFix_ROOT={find_cmake_directory()}"
        return self.run("cmake", "-S", source, "-B", build, "-G", self.generator, root, *options)


def find_cmake_directory() -> str:
    """What ``bundle-fix cmake-dir`` prints."""
    command = [sys.executable, "-m", "bundle_fix", "cmake-dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def install_cmake(which: str, generator: str = "Ninja") -> CMake:
    """A CMake from PyPI, with Ninja beside it; ``which`` is a key of `WANTED`."""
    with lock_tool_directory(which) as folder:
        if not (folder / "done").exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
            done = subprocess.run([*pip, "--target", folder, WANTED[which], "ninja"], check=False)
            if done.returncode != 0:
                if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
                    pytest.fail(f"pip cannot install {WANTED[which]}")
                pytest.skip(f"pip cannot install {WANTED[which]}: there may be no network")
            for name in ("cmake", "cpack", "ctest"):
                program = folder / "cmake/data/bin" / name
                (folder / "bin" / name).unlink(missing_ok=True)
                (folder / "bin" / name).symlink_to(program)
            (folder / "done").touch()
    return CMake(folder / "bin", generator)


@dataclass(frozen=True)
class Project:
    """A project in a folder, built by one CMake."""

    source: Path
    build: Path
    cmake: CMake
    config: tuple[str, ...] = field(default=())

    def make(self, *targets: str) -> subprocess.CompletedProcess[str]:
        """Build targets, or all."""
        wanted = ["--target", *targets] if targets else []
        return self.cmake.run("cmake", "--build", self.build, *wanted, *self.config)

    def install(self, *options: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``cmake --install``."""
        return self.cmake.run("cmake", "--install", self.build, *self.config, *options, **more)


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files of a project into a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def write_demo_project(folder: Path, more: str = "bundle_fix_install()\n", **files: str) -> Path:
    """A program, and a library with a soname in a subdirectory, with ``more`` at the end."""
    return write_project(
        folder,
        {
            "CMakeLists.txt": PROJECT + more,
            "core/CMakeLists.txt": CORE,
            "core/core.c": LIBRARY,
            "app.c": PROGRAM,
            "bundle.toml": SPEC,
            **files,
        },
    )


def build_project(cmake: CMake, source: Path, build: Path, *options: str) -> Project:
    """Configure and build a project; both must work."""
    done = cmake.configure(source, build, *options)
    assert done.returncode == 0, done.stdout
    config = ("--config", "Release") if "Multi" in cmake.generator else ()
    project = Project(source, build, cmake, config)
    done = project.make()
    assert done.returncode == 0, done.stdout
    return project
