"""Privileged programs that an ordinary user runs: secure-execution mode (ld.so(8))."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.loaders import map_process_here
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process

NOBODY = 65534
LIB = "$ORIGIN/../lib"
BASES = (Path("/var/tmp"), Path("/usr/lib"))  # noqa: S108 (/tmp may be mounted nosuid)


@pytest.fixture(params=BASES, ids=["elsewhere", "below a default directory"])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Yield the directory of a pack, on a file system that honours set-uid bits."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a set-uid program of another user")
    base: Path = request.param
    if os.statvfs(base).f_flag & os.ST_NOSUID:
        pytest.skip(f"{base} is mounted nosuid")
    directory = Path(tempfile.mkdtemp(prefix="bundle-fix-", dir=base))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def run_as_other_user(root: Path, *, mode: int = 0o4755, **environ: str) -> tuple[int, str]:
    """Run ``bin/x`` as a user who does not own it; return its exit code and output."""
    program = root / "bin/x"
    for directory, _, _ in os.walk(root):
        Path(directory).chmod(0o755)
    program.chmod(mode)
    assert stat.S_IMODE(program.stat().st_mode) == mode
    done = subprocess.run(
        [program], env=environ, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def map_program(root: Path, environment: Environment = EMPTY_ENVIRONMENT) -> Process:
    return map_process_here(root, "bin/x", environment)


def get_origins(process: Process) -> dict[str, ObjectOrigin]:
    return {o.name: o.origin for o in process.objects}


def test_origin_is_expanded_only_below_the_default_directories(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    status, output = run_as_other_user(root)
    assert status in (0, 127)
    if status == 0:
        assert output == "pack\nmain\n"
    assert get_origins(map_program(root))["liba.so.1"] == (
        ObjectOrigin.BUNDLE if status == 0 else ObjectOrigin.MISSING
    )


def test_origin_must_come_first(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"/{LIB}")
    status, _ = run_as_other_user(root)
    assert status == 127
    assert get_origins(map_program(root))["liba.so.1"] is ObjectOrigin.MISSING


def test_library_path_is_ignored(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "env/liba.so.1", soname="liba.so.1", tag="environment")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{root}/lib")
    status, output = run_as_other_user(root, LD_LIBRARY_PATH=f"{root}/env")
    assert (status, output) == (0, "pack\nmain\n")
    process = map_program(root, Environment(library_path=f"{root}/env"))
    assert process.objects[1].path == "lib/liba.so.1"
    hostile = map_program(root, Environment(hostile=True))
    assert hostile.objects[1].path == "lib/liba.so.1"


def test_preload_is_ignored(root: Path) -> None:
    build_elf(root / "lib/libpre.so.1", soname="libpre.so.1", tag="preloaded")
    build_elf(root / "bin/x", program=True)
    status, output = run_as_other_user(root, LD_PRELOAD=f"{root}/lib/libpre.so.1")
    assert (status, output) == (0, "main\n")
    process = map_program(root, Environment(preload=f"{root}/lib/libpre.so.1"))
    assert "libpre.so.1" not in get_origins(process)
    assert process.remarks == ("LD_PRELOAD is ignored: the program is privileged",)


def test_a_needed_path_with_a_token_is_rejected(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=[f"{LIB}/liba.so.1"])
    status, _ = run_as_other_user(root)
    assert status == 127
    assert [o.origin for o in map_program(root).objects[1:2]] == [ObjectOrigin.MISSING]


def test_origin_of_a_library_is_expanded(root: Path) -> None:
    build_elf(root / "lib/libb.so.1", soname="libb.so.1", tag="pack")
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{root}/lib")
    status, output = run_as_other_user(root)
    assert (status, output.splitlines()[0]) == (0, "pack")
    assert get_origins(map_program(root))["libb.so.1"] is ObjectOrigin.BUNDLE


@pytest.mark.parametrize(
    ("capabilities", "is_secure"),
    [("cap_chown=ep", True), ("cap_chown=p", True), ("cap_chown=i", False), ("=", False)],
)
def test_file_capabilities_are_like_set_uid(root: Path, capabilities: str, is_secure: bool) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"/{LIB}")
    if shutil.which("setcap") is None:
        pytest.skip("setcap is not installed")
    subprocess.run(["setcap", capabilities, root / "bin/x"], check=True)
    status, _ = run_as_other_user(root, mode=0o755)
    assert status == (127 if is_secure else 0)
    expected = ObjectOrigin.MISSING if is_secure else ObjectOrigin.BUNDLE
    assert get_origins(map_program(root))["liba.so.1"] is expected
