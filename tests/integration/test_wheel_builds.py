"""Wheels that pip builds use the libraries that they contain, or are not built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import bundle_fix as bundle_fix_package
from builders.cmake import lock_tool_directory, make_build_environment, write_demo_project
from builders.run import run_bundle_fix
from builders.wheel import read_wheel

from .conftest import SAMPLE, run_on_decoy_host

pytestmark = pytest.mark.xdist_group("wheels")
ROOT = Path(__file__).parents[2]
HERE = ("--no-deps", "--no-build-isolation")
"""Build in this environment: creating an isolated one takes longer than the build."""
PYPROJECT = """\
[build-system]
requires = ["scikit-build-core", "bundle-fix"]
build-backend = "{backend}"

[project]
name = "demo"
version = "1.2.3"

[project.scripts]
demo = "demo:main"

[tool.scikit-build]
wheel.packages = ["python/demo"]
wheel.install-dir = "demo"
wheel.py-api = "py3"
{more}
"""
PACKAGE = """\
import os, pathlib, sys

def main():
    paths = (pathlib.Path(directory, "bin", "app") for directory in __path__)
    program = next(path for path in paths if path.exists())
    os.execv(program, [program, *sys.argv[1:]])
"""


@pytest.fixture(scope="session")
def links() -> Iterator[Path]:
    """A directory with a wheel of this tree for PIP_FIND_LINKS, since it is not on an index."""
    with lock_tool_directory(f"links-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as directory:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "-w",
            directory,
            ROOT,
        ]
        subprocess.run(command, check=True, env=make_build_environment())
        yield directory


def run_pip(links: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    existing = os.environ.get("PIP_FIND_LINKS", "")
    found = f"{links} {existing}".strip()
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env=make_build_environment(PIP_FIND_LINKS=found, **more),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip


def write_wheel_project(
    directory: Path, lists: str = "", *, backend: str = "bundle_fix.integrations.pep517"
) -> Path:
    more = lists or "bundle_fix_install()\n"
    text = PYPROJECT.format(backend=backend, more="")
    return write_demo_project(
        directory, more, **{"pyproject.toml": text, "python/demo/__init__.py": PACKAGE}
    )


def build_wheel_with_pip(links: Path, source: Path, out: Path, *options: str) -> Path:
    done = run_pip(links, "wheel", "--no-deps", "-v", *options, "-w", out, source)
    assert done.returncode == 0, done.stdout[-4000:]
    (wheel,) = out.glob("*.whl")
    return wheel


def install(
    links: Path, directory: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Install with pip in a new environment that also has the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    here = (sysconfig.get_path("purelib"), Path(bundle_fix_package.__file__).parents[1])
    (site / "zz_here.pth").write_text("".join(f"{path}\n" for path in here))
    return run_pip(links, "--python", str(directory), "install", "-v", *HERE, *arguments)


def run_installed(links: Path, directory: Path, *arguments: str | Path) -> str:
    """Install in a new environment, run the console entry point, and return its output."""
    done = install(links, directory, *arguments)
    assert done.returncode == 0, done.stdout[-4000:]
    ran = subprocess.run(
        [directory / "bin/demo"],
        cwd="/",
        env=make_build_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


@pytest.fixture(scope="session")
def wheel(links: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ein Ra-d")
    return build_wheel_with_pip(
        links,
        write_wheel_project(directory / "sö urce", backend="scikit_build_core.build"),
        directory,
    )


def test_a_library_is_packed_once_under_its_soname(wheel: Path) -> None:
    names = [name for name in read_wheel(wheel) if name.startswith(("demo/lib", "demo/bin"))]
    assert sorted(names) == ["demo/bin/app", "demo/lib/libcore.so.1"]
    assert run_bundle_fix("check", wheel).returncode == 0


def test_the_console_entry_point_runs_the_program(links: Path, wheel: Path, tmp_path: Path) -> None:
    assert run_installed(links, tmp_path / "env", wheel) == "answer 42\n"


def test_auditwheel_finds_no_library_outside_the_wheel(wheel: Path) -> None:
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'consistent with the following platform tag: "manylinux_' in " ".join(
        done.stdout.split()
    )


def test_a_wheel_without_one_of_its_libraries_is_not_built(links: Path, tmp_path: Path) -> None:
    source = write_wheel_project(tmp_path / "s", backend="scikit_build_core.build")
    lists = source / "core/CMakeLists.txt"
    lists.write_text(lists.read_text().replace("install(TARGETS core LIBRARY COMPONENT libs)", ""))
    done = run_pip(links, "wheel", *HERE, "-w", tmp_path / "out", source)
    assert done.returncode != 0
    assert "BF101" in done.stdout
    assert "libcore.so.1" in done.stdout
    assert not list(tmp_path.glob("out/*.whl"))


def test_the_backend_checks_wheels_without_the_install_rule_and_respects_ignores(
    links: Path, tmp_path: Path
) -> None:
    source = write_wheel_project(tmp_path / "s", "message(STATUS nothing)\n")
    done = run_pip(links, "wheel", *HERE, "-w", tmp_path / "out", source)
    assert (done.returncode != 0, "BF102" in done.stdout) == (True, True)
    assert "was removed" in done.stdout
    with (source / "pyproject.toml").open("a") as file:
        rules = (f'{{ rule = "{code}", path = "*", reason = "x" }}' for code in ("BF102", "BF201"))
        file.write(f"[tool.bundle-fix]\nignore = [{', '.join(rules)}]\n")
    assert build_wheel_with_pip(links, source, tmp_path / "out", *HERE).is_file()


def test_a_wheel_built_from_a_source_distribution_passes(links: Path, tmp_path: Path) -> None:
    source = write_wheel_project(tmp_path / "s")
    script = "import bundle_fix.integrations.pep517 as b, sys; print(b.build_sdist(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=source, env=make_build_environment(),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    sdist = tmp_path / done.stdout.split()[-1]
    wheel = build_wheel_with_pip(links, sdist, tmp_path / "out", *HERE)
    assert "demo/lib/libcore.so.1" in read_wheel(wheel)


@pytest.mark.parametrize("mode", ["redirect", "inplace"])
def test_editable_installations_work_and_are_not_fixed(
    links: Path, tmp_path: Path, mode: str
) -> None:
    source = write_wheel_project(tmp_path / "s")
    text = (source / "pyproject.toml").read_text()
    if mode == "inplace":
        # The build tree is the source tree, and nothing is installed.
        text += 'editable.mode = "inplace"\n'
        init = source / "python/demo/__init__.py"
        init.write_text(PACKAGE.replace('directory, "bin"', 'directory, "..", ".."'))
    (source / "pyproject.toml").write_text(text)
    assert run_installed(links, tmp_path / "env", "-e", source) == "answer 42\n"


def test_an_editable_extension_module_finds_libraries_below_its_directory(
    links: Path, tmp_path: Path
) -> None:
    # A module next to the package's code, opened with dlopen as the import system does.
    lists = """\
add_library(ext MODULE ext.c)
set_target_properties(ext PROPERTIES PREFIX "")
target_link_libraries(ext PRIVATE core)
install(TARGETS ext LIBRARY DESTINATION .)
bundle_fix_install()
"""
    source = write_wheel_project(tmp_path / "s", lists)
    (source / "ext.c").write_text(
        "int core_answer(void);\nint ext(void) { return core_answer(); }\n"
    )
    (source / "python/demo/__init__.py").write_text(
        "import ctypes, pathlib\n\n"
        "def main():\n"
        '    files = (pathlib.Path(directory, "ext.so") for directory in __path__)\n'
        "    ext = ctypes.CDLL(str(next(file for file in files if file.exists())))\n"
        '    print("answer", ext.ext())\n'
    )
    assert run_installed(links, tmp_path / "env", "-e", source) == "answer 42\n"


def test_an_editable_installation_without_a_library_is_not_stopped(
    links: Path, tmp_path: Path
) -> None:
    source = write_wheel_project(tmp_path / "s")
    lists = source / "core/CMakeLists.txt"
    lists.write_text(lists.read_text().replace("install(TARGETS core LIBRARY COMPONENT libs)", ""))
    done = install(links, tmp_path / "env", "-e", source)
    assert (done.returncode, "is not fixed" in done.stdout) == (0, True), done.stdout[-3000:]


def test_the_settings_in_pyproject_are_read_or_refused(tmp_path: Path) -> None:
    from bundle_fix.model.errors import BundleFixError
    from bundle_fix.policy.from_pyproject import read_wheel_settings

    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.bundle-fix]\nfail-on = "warning"\nhost = ["libjvm.so"]\n')
    assert read_wheel_settings(path).fail_on == "warning"
    path.write_text("[tool.bundle-fix]\nfailon = 1\n")
    with pytest.raises(
        BundleFixError, match=r"pyproject\.toml: invalid \[tool\.bundle-fix\]: .*failon"
    ):
        read_wheel_settings(path)


@pytest.fixture(scope="session")
def sample_wheel(links: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("das Beispiel")
    ignored = shutil.ignore_patterns("build", "output", "demo", "__pycache__")
    shutil.copytree(SAMPLE, directory / "tree", ignore=ignored, symlinks=True)
    return build_wheel_with_pip(links, directory / "tree", directory / "out")


def test_the_wheel_of_the_sample_runs_on_a_decoy_host(sample_wheel: Path) -> None:
    names = [name for name in read_wheel(sample_wheel) if "/lib/" in name]
    assert "pegasus_sample/lib/libtcmalloc_and_profiler.so.4" in names
    # libcrypto.so.3 makes file names by "lib%s.so": names without a version stay, as copies.
    stems = Counter(name.partition(".so")[0] for name in names)
    copied = {"librocksdb", "libtcmalloc_and_profiler"}
    assert {stem for stem, n in stems.items() if n > 1} == {
        f"pegasus_sample/lib/{c}" for c in copied
    }
    ran = run_on_decoy_host(
        sample_wheel,
        "pegasus_sample/bin/pegasus_server",
        "--demo",
        "/tmp/db",  # noqa: S108
    )
    assert (ran.status, "done" in ran.output, ran.list_errors()) == (0, True, []), ran.output
    assert "4.6.11 (/opt/pack/pegasus_sample/lib/" in ran.output
