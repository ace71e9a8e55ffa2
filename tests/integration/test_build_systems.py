"""The examples of docs/build-systems.md make packs that run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from builders.cmake import lock_tool_directory

from .conftest import ROOT, require_program

MANUAL = ROOT / "docs/build-systems.md"
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONAN_RECIPE = """\
from conan import ConanFile

class Core(ConanFile):
    name = "core"
    version = "1.0"
    exports_sources = "*.so"

    def package(self):
        import shutil
        shutil.copytree(self.source_folder, self.package_folder + "/lib")

    def package_info(self):
        self.cpp_info.libs = ["core"]
"""


def read_section(title: str) -> tuple[dict[str, str], str]:
    """Return the files of a section of the manual, with those of its beginning, and its script."""
    intro, *sections = re.split(r"^## ", MANUAL.read_text(), flags=re.MULTILINE)
    section = next(text for text in sections if text.startswith(f"{title}\n"))
    script = SCRIPT.search(section)
    assert script is not None
    return dict(FILE.findall(intro) + FILE.findall(section)), script[1]


def run_section(title: str, directory: Path, **environ: str) -> None:
    """Run the script of a section on its files, and the program of the pack that it makes."""
    files, script = read_section(title)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    path = f"{environ.pop('TOOLS', '')}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", script], cwd=directory, env={**os.environ, "PATH": path, **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    with tarfile.open(directory / "demo.tar.gz") as archive:
        archive.extractall(directory / "unpacked", filter="tar")
    assert run_program(directory / "unpacked/demo/bin/app") == "answer 42\n"


def run_program(program: Path) -> str:
    environ = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [program], env=environ, cwd="/", capture_output=True, text=True, check=True
    ).stdout


def install_python_tool(name: str, *requirements: str) -> str:
    """Install a program from PyPI, and return the directory that contains it."""
    with lock_tool_directory(name) as directory:
        if not (directory / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", directory], check=True)
            pip: list[str | Path] = [
                directory / "bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                *requirements,
            ]
            if subprocess.run(pip, check=False).returncode != 0:
                if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
                    pytest.fail(f"pip cannot install {name}")
                pytest.skip(f"pip cannot install {name}: there may be no network")
            (directory / "done").touch()
    return str(directory / "bin")


def require_tool(name: str, package: str) -> None:
    """Skip the test if a program is missing; fail if all toolchains must work, as in CI."""
    if os.environ.get("BUNDLE_FIX_TOOLCHAINS") != "all":
        require_program(name, f"the Debian package {package} has it")


def test_make(tmp_path: Path) -> None:
    require_tool("make", "make")
    run_section("Make", tmp_path)
    before = (tmp_path / "demo.tar.gz").stat().st_mtime_ns
    subprocess.run(["make", "pack"], cwd=tmp_path, check=True)
    assert (tmp_path / "demo.tar.gz").stat().st_mtime_ns == before


def test_autotools(tmp_path: Path) -> None:
    require_tool("autoreconf", "automake")
    require_tool("libtoolize", "libtool")
    run_section("Autotools", tmp_path)


def test_meson(tmp_path: Path) -> None:
    run_section("Meson", tmp_path, TOOLS=install_python_tool("meson", "meson", "ninja"))
    assert run_program(tmp_path / "stage/usr/local/bin/app") == "answer 42\n"


def test_cargo(tmp_path: Path) -> None:
    require_tool("cargo", "cargo")
    run_section("Cargo", tmp_path, CARGO_HOME=str(tmp_path / "cargo"))


def test_go_with_cgo(tmp_path: Path) -> None:
    require_tool("go", "golang-go")
    run_section("Go with cgo", tmp_path, GOFLAGS="-mod=mod", GOPROXY="off", CGO_ENABLED="1")


def test_conan(tmp_path: Path) -> None:
    tools = install_python_tool("conan", "conan")
    environ = {"CONAN_HOME": str(tmp_path / "home"), "TOOLS": tools}
    recipe = tmp_path / "recipe"
    files, _ = read_section("Conan")
    recipe.mkdir()
    (recipe / "conanfile.py").write_text(CONAN_RECIPE)
    (recipe / "core.c").write_text(files["core.c"])
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcore.so.1", "-o", "libcore.so", "core.c"]
    subprocess.run(command, cwd=recipe, check=True)
    for arguments in (["profile", "detect"], ["create", recipe], ["remote", "disable", "*"]):
        subprocess.run(
            [f"{tools}/conan", *arguments], env={**os.environ, **environ}, check=True,
            capture_output=True,
        )  # fmt: skip
    run_section("Conan", tmp_path / "project", **environ)
