"""No code of an artifact is run: everything in it that can be run is a trap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_tarball
from builders.packages import build_deb

SCRIPT = "#!/bin/sh\necho run >>{mark}\n"
CONSTRUCTOR = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) void trap(void) {{
    int fd = open("{mark}", O_CREAT | O_WRONLY | O_APPEND, 0644);
    if (fd >= 0) _exit(write(fd, "run\\n", 4) == 4 ? 3 : 4);
}}
int main(void) {{ trap(); return 0; }}
int malloc(void) {{ trap(); return 0; }}
int free(void) {{ trap(); return 0; }}
"""
TOOLS = (
    "patchelf", "readelf", "objdump", "ldd", "ldconfig", "ld.so", "strip", "tar", "gzip", "sh",
    "cc", "python3", "uname", "dpkg-deb", "rpm2cpio", "xz", "zstd",
)  # fmt: skip
PYTHON = ("sitecustomize.py", "usercustomize.py", "bundle_fix.py", "lief.py", "rich.py", "x.pth")


def make_trapped_pack(directory: Path, mark: Path) -> Path:
    """Create a pack in which everything that can be run writes to ``mark`` when it is run."""
    for parent in ("", "bin", "lib", "usr/bin"):
        for name in TOOLS:
            script = directory / parent / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(SCRIPT.format(mark=mark))
            script.chmod(0o755)
    for name in PYTHON:
        (directory / name).write_text(f"import os; os.system('echo run >>{mark}')\n")
    source = CONSTRUCTOR.format(mark=mark)
    flags = [f"-Wl,--dynamic-linker={directory / 'lib/ld.so'}"]
    build_elf(directory / "lib/libtrap.so.1.0", soname="libtrap.so.1", source=source)
    (directory / "lib/libtrap.so.1").symlink_to("libtrap.so.1.0")
    build_elf(directory / "lib/libc.so.6", soname="libc.so.6", source=source)
    build_elf(
        directory / "bin/server", program=True, needed=["libtrap.so.1"], runpath=".", flags=flags,
        source=source,
    )  # fmt: skip
    (directory / "etc").mkdir()
    (directory / "etc/ld.so.preload").write_text("/lib/libtrap.so.1.0\n")
    return directory


def make_artifacts(directory: Path, mark: Path) -> list[Path]:
    """Create a directory, a tarball, a wheel and a package with traps; return also a program."""
    pack = make_trapped_pack(directory / "pack", mark)
    package = directory / "deb"
    shutil.copytree(pack, package, symlinks=True)
    (package / "DEBIAN").mkdir()
    for name in ("preinst", "postinst", "prerm", "config"):
        (package / "DEBIAN" / name).write_text(SCRIPT.format(mark=mark))
        (package / "DEBIAN" / name).chmod(0o755)
    wheel = directory / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(pack.rglob("*")):
            if path.is_file():
                archive.write(path, f"x/{path.relative_to(pack)}")
        archive.writestr("x-1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("x-1.dist-info/RECORD", "x-1.dist-info/RECORD,,\n")
    artifacts = [
        pack,
        make_tarball(pack, directory / "a.tar.gz"),
        wheel,
        build_deb(package, directory / "a.deb"),
    ]
    return [*artifacts, pack / "bin/server"]


def list_commands(artifact: Path, directory: Path) -> list[list[str | Path]]:
    """Return the arguments of the commands to run on an artifact."""
    out = directory / "out"
    commands: list[list[str | Path]] = [["check", "-v", artifact]]
    if artifact.suffix != ".deb":
        commands += [["fix", "--force", artifact, "-o", out]]
    if artifact.is_dir():
        commands += [["tree", artifact], ["why", artifact, "libtrap.so.1"],
                  ["check", "--host", artifact, artifact]]  # fmt: skip
    if artifact.name == "server":
        commands = [["check", artifact], ["elf", "--set-runpath", "$ORIGIN/x", artifact, "-o", out]]
    return commands


def test_no_trap_in_an_artifact_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    for artifact in make_artifacts(tmp_path, mark):
        for command in list_commands(artifact, tmp_path):
            # In the pack, so that names looked up in the working directory are found there.
            done = subprocess.run(
                [sys.executable, "-P", "-m", "bundle_fix", *command]
                if sys.version_info >= (3, 11)
                else [str(Path(sys.executable).with_name("bundle-fix")), *command],
                cwd=tmp_path / "pack", capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode in (0, 1, 2), done.stderr
            assert "Traceback" not in done.stderr
            assert not mark.exists(), command
            out = tmp_path / "out"
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)


def test_each_trap_works_when_it_is_run(tmp_path: Path) -> None:
    """Without this the test above would prove nothing."""
    mark = tmp_path / "run"
    pack = make_trapped_pack(tmp_path / "pack", mark)
    loader = "/lib64/ld-linux-x86-64.so.2"
    (tmp_path / "only").mkdir()
    shutil.copy(pack / "lib/libtrap.so.1", tmp_path / "only")
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "only")}
    subprocess.run([pack / "bin/patchelf"], check=True)
    subprocess.run([loader, pack / "bin/server"], check=False, env=libraries)
    environ = {**os.environ, "LD_PRELOAD": str(pack / "lib/libtrap.so.1.0")}
    subprocess.run(["/bin/true"], check=False, env=environ)
    subprocess.run([sys.executable, "-c", "import lief"], cwd=pack, check=False)
    assert mark.read_text().count("run") >= 4


@pytest.mark.parametrize("command", ["check", "fix"])
def test_only_python_and_the_editors_outside_the_pack_are_started(
    tmp_path: Path, command: str
) -> None:
    strace = shutil.which("strace")
    probe = [strace or "strace", "-o", "/dev/null", "true"]
    if strace is None or subprocess.run(probe, check=False, capture_output=True).returncode:
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all" and strace is None:
            pytest.fail("strace is not installed, although CI installs it")
        pytest.skip("strace is not installed or not permitted to trace")
    packed = make_tarball(
        make_trapped_pack(tmp_path / "pack", tmp_path / "run"), tmp_path / "a.tar.gz"
    )
    log = tmp_path / "log"
    options = ["--force", "-o", str(tmp_path / "out.tar.gz")] if command == "fix" else []
    subprocess.run(
        [strace, "-f", "-e", "trace=execve,execveat", "-o", log, sys.executable, "-m", "bundle_fix",
         command, packed, *options],
        check=False, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    started = re.findall(r'execve(?:at)?\((?:AT_FDCWD, )?"([^"]*)"', log.read_text())
    assert started
    allowed = {"patchelf", Path(sys.executable).name}
    assert {Path(path).name for path in started} <= allowed
    assert not any(Path(path).is_relative_to(tmp_path) for path in started)
