"""The search rules of musl: small trees of real ELF files, for musl's loader and the model."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, Toolchain, build_elf
from builders.loaders import list_process_files, map_process_here, parse_loader_list, resolve_paths
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.objects import ObjectOrigin

MUSL = Toolchain("musl-gcc")
LOADER = Path("/lib/ld-musl-x86_64.so.1")
LIB = "$ORIGIN/../lib"
pytestmark = pytest.mark.skipif(not LOADER.exists(), reason="musl is not installed")


def build_library(
    path: Path, *needed: str, soname: str | None = None, runpath: str | None = None
) -> Path:
    return build_elf(
        path, needed=needed, toolchain=MUSL, soname=soname or path.name, runpath=runpath
    )


def build_program(
    root: Path, *needed: str, runpath: str | None = None, rpath: str | None = None
) -> Path:
    return build_elf(
        root / "bin/x", program=True, needed=needed, toolchain=MUSL, runpath=runpath, rpath=rpath
    )


def assert_same(root: Path, environment: Environment = EMPTY_ENVIRONMENT) -> list[str]:
    """Assert that musl's ldd and the model agree; return the files below ``root``, in order."""
    variables = {"LD_LIBRARY_PATH": environment.library_path, "LD_PRELOAD": environment.preload}
    done = subprocess.run(
        [LOADER, "--list", root / "bin/x"],
        env={name: value for name, value in variables.items() if value},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # ldd lists musl itself at the position and by the name of its first dependency.
    expected = [
        path
        for _, path in resolve_paths(parse_loader_list(done.stdout))
        if path and "ld-musl" not in path
    ]
    expected = [path for path in expected if Path(path) != LOADER.resolve()]
    process = map_process_here(root, "bin/x", environment)
    found = [path for _, path in resolve_paths(list_process_files(process, root))]
    found = [path for path in found if path and Path(path) != LOADER.resolve()]
    assert found == expected
    return [path.removeprefix(f"{root.resolve()}/") for path in expected]


def get_loader_error(root: Path) -> str:
    """Return the error message of musl's loader for the program, which must fail to start."""
    done = subprocess.run([root / "bin/x"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    return done.stderr


def list_verdicts(root: Path, name: str) -> list[str]:
    process = map_process_here(root, "bin/x")
    return [s.verdict for o in process.objects if o.name == name for s in o.trace]


def test_library_path_comes_before_rpath(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "env/liba.so.1")
    build_program(tmp_path, "liba.so.1", rpath=LIB)
    environment = Environment(library_path=f"/missing:{tmp_path}/env")
    assert assert_same(tmp_path, environment) == ["env/liba.so.1"]


@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_rpath_and_runpath_are_inherited(tmp_path: Path, tag: str) -> None:
    build_library(tmp_path / "lib/libb.so.1")
    build_library(tmp_path / "lib/liba.so.1", "libb.so.1")
    build_program(
        tmp_path,
        "liba.so.1",
        rpath=LIB if tag == "rpath" else None,
        runpath=LIB if tag == "runpath" else None,
    )
    assert assert_same(tmp_path) == ["lib/liba.so.1", "lib/libb.so.1"]


def test_a_runpath_does_not_hide_inherited_entries(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libb.so.1")
    build_library(tmp_path / "lib/liba.so.1", "libb.so.1", runpath="/missing")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/liba.so.1", "lib/libb.so.1"]


def test_an_object_is_known_by_its_file_name_not_by_its_soname(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libdev.so", soname="libreal.so.1")
    build_library(tmp_path / "lib/libuser.so.1", "libreal.so.1")
    build_program(tmp_path, "libdev.so", "libuser.so.1", runpath=LIB)
    assert "libreal.so.1" in get_loader_error(tmp_path)
    origins = {o.name: o.origin for o in map_process_here(tmp_path, "bin/x").objects}
    assert origins["libreal.so.1"] is ObjectOrigin.MISSING


def test_a_token_other_than_origin_invalidates_the_search_path(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"{LIB}:$ORIGIN/../$LIB")
    assert "liba.so.1" in get_loader_error(tmp_path)
    assert "ignored: musl replaces no token but $ORIGIN" in list_verdicts(tmp_path, "liba.so.1")


def test_a_library_of_another_machine_ends_the_search(tmp_path: Path) -> None:
    build_elf(tmp_path / "bad/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    assert "liba.so.1" in get_loader_error(tmp_path)
    assert list_verdicts(tmp_path, "liba.so.1") == ["32-bit i386: the search fails here"]


def test_names_of_c_libraries_resolve_to_musl(tmp_path: Path) -> None:
    for name in ("libc.so", "libpthread.so.0", "libm.so.6"):
        build_library(tmp_path / "lib" / name)
    build_program(tmp_path, "libpthread.so.0", "libm.so.6", runpath=LIB)
    assert assert_same(tmp_path) == []


def test_preloaded_objects_come_first(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libpre.so.1")
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(preload=str(tmp_path / "lib/libpre.so.1"))
    assert assert_same(tmp_path, environment) == ["lib/libpre.so.1", "lib/liba.so.1"]


def test_origin_of_a_library_is_the_directory_of_its_symlink(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libb.so.1")
    build_library(tmp_path / "real/liba.so.1", "libb.so.1", runpath="$ORIGIN")
    (tmp_path / "lib/liba.so.1").symlink_to("../real/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["real/liba.so.1", "lib/libb.so.1"]
