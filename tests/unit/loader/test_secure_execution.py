"""Set-uid programs, run by another user than their owner: the loader trusts less (ld.so(8))."""

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
from bundle_fix.loader.process import Process

NOBODY = 65534
LIB = "$ORIGIN/../lib"
WHERE = (Path("/var/tmp"), Path("/usr/lib"))  # noqa: S108 (where set-uid bits count)


@pytest.fixture(params=WHERE, ids=["anywhere", "below a default directory"])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a set-uid program of another user")
    base: Path = request.param
    if os.statvfs(base).f_flag & os.ST_NOSUID:
        pytest.skip(f"{base} is mounted nosuid")
    folder = Path(tempfile.mkdtemp(prefix="bundle-fix-", dir=base))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def started(root: Path, **environ: str) -> tuple[int, str]:
    """The program, run by a user who does not own it."""
    program = root / "bin/x"
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)
    program.chmod(0o4755)
    assert program.stat().st_mode & stat.S_ISUID
    done = subprocess.run(
        [program], env=environ, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def model(root: Path, environment: Environment = EMPTY_ENVIRONMENT) -> Process:
    return map_process_here(root, "bin/x", environment)


def origins(process: Process) -> dict[str, str]:
    return {o.name: o.origin for o in process.objects}


def test_origin_counts_only_below_the_default_directories(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    status, said = started(root)
    assert status in (0, 127)
    if status == 0:
        assert said == "pack\nmain\n"
    assert origins(model(root))["liba.so.1"] == ("bundle" if status == 0 else "missing")


def test_origin_must_stand_first(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"/{LIB}")
    status, _ = started(root)
    assert status == 127
    assert origins(model(root))["liba.so.1"] == "missing"


def test_library_path_is_not_heeded(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "env/liba.so.1", soname="liba.so.1", tag="environment")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{root}/lib")
    status, said = started(root, LD_LIBRARY_PATH=f"{root}/env")
    assert (status, said) == (0, "pack\nmain\n")
    process = model(root, Environment(library_path=f"{root}/env"))
    assert process.objects[1].path == "lib/liba.so.1"
    hostile = model(root, Environment(hostile=True))
    assert hostile.objects[1].path == "lib/liba.so.1"


def test_preload_is_not_heeded(root: Path) -> None:
    build_elf(root / "lib/libpre.so.1", soname="libpre.so.1", tag="preloaded")
    build_elf(root / "bin/x", program=True)
    status, said = started(root, LD_PRELOAD=f"{root}/lib/libpre.so.1")
    assert (status, said) == (0, "main\n")
    process = model(root, Environment(preload=f"{root}/lib/libpre.so.1"))
    assert "libpre.so.1" not in origins(process)
    assert process.remarks == ("LD_PRELOAD is ignored: the program is set-uid or set-gid",)


def test_a_needed_path_with_a_token_is_refused(root: Path) -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", tag="pack")
    build_elf(root / "bin/x", program=True, needed=[f"{LIB}/liba.so.1"])
    status, _ = started(root)
    assert status == 127
    assert [o.origin for o in model(root).objects[1:2]] == ["missing"]
