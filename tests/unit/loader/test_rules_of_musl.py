"""musl's rules, each a tiny folder of real ELF files, run through musl's loader and the model."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, Toolchain, build_elf
from builders.loaders import list_process_files, map_process_here, parse_loader_list, resolve_paths
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment

MUSL = Toolchain("musl-gcc")
LOADER = Path("/lib/ld-musl-x86_64.so.1")
LIB = "$ORIGIN/../lib"
pytestmark = pytest.mark.skipif(not LOADER.exists(), reason="musl is not installed")


def library(path: Path, *needed: str, **options: str) -> Path:
    options.setdefault("soname", path.name)
    return build_elf(path, needed=needed, toolchain=MUSL, **options)  # type: ignore[arg-type]


def program(root: Path, *needed: str, **options: str) -> Path:
    return build_elf(root / "bin/x", program=True, needed=needed, toolchain=MUSL, **options)  # type: ignore[arg-type]


def assert_same(root: Path, environment: Environment = EMPTY_ENVIRONMENT) -> list[str]:
    """Musl's ldd and the model agree; gives the files below ``root``, in order."""
    variables = {"LD_LIBRARY_PATH": environment.library_path, "LD_PRELOAD": environment.preload}
    done = subprocess.run(
        [LOADER, "--list", root / "bin/x"],
        env={name: value for name, value in variables.items() if value},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # ldd shows musl itself where it was first named, and under that name.
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


def lost(root: Path) -> str:
    done = subprocess.run([root / "bin/x"], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    return done.stderr


def verdicts(root: Path, name: str) -> list[str]:
    process = map_process_here(root, "bin/x")
    return [s.verdict for o in process.objects if o.name == name for s in o.trace]


def test_library_path_comes_before_rpath(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "env/liba.so.1")
    program(tmp_path, "liba.so.1", rpath=LIB)
    environment = Environment(library_path=f"/nowhere:{tmp_path}/env")
    assert assert_same(tmp_path, environment) == ["env/liba.so.1"]


@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_both_kinds_of_search_path_are_inherited(tmp_path: Path, tag: str) -> None:
    library(tmp_path / "lib/libb.so.1")
    library(tmp_path / "lib/liba.so.1", "libb.so.1")
    program(tmp_path, "liba.so.1", **{tag: LIB})
    assert assert_same(tmp_path) == ["lib/liba.so.1", "lib/libb.so.1"]


def test_a_runpath_does_not_silence_what_is_inherited(tmp_path: Path) -> None:
    library(tmp_path / "lib/libb.so.1")
    library(tmp_path / "lib/liba.so.1", "libb.so.1", runpath="/nowhere")
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/liba.so.1", "lib/libb.so.1"]


def test_an_object_is_known_by_its_file_name_not_by_its_soname(tmp_path: Path) -> None:
    library(tmp_path / "lib/libdev.so", soname="libreal.so.1")
    library(tmp_path / "lib/libuser.so.1", "libreal.so.1")
    program(tmp_path, "libdev.so", "libuser.so.1", runpath=LIB)
    assert "libreal.so.1" in lost(tmp_path)
    origins = {o.name: o.origin for o in map_process_here(tmp_path, "bin/x").objects}
    assert origins["libreal.so.1"] == "missing"


def test_other_tokens_than_origin_void_the_search_path(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=f"{LIB}:$ORIGIN/../$LIB")
    assert "liba.so.1" in lost(tmp_path)
    assert "ignored: musl knows no token but $ORIGIN" in verdicts(tmp_path, "liba.so.1")


def test_over_a_file_of_another_machine_musl_gives_up(tmp_path: Path) -> None:
    build_elf(tmp_path / "bad/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    assert "liba.so.1" in lost(tmp_path)
    assert verdicts(tmp_path, "liba.so.1") == ["32-bit i386: the loader gives up here"]


def test_names_of_the_c_library_are_musl_itself(tmp_path: Path) -> None:
    for name in ("libc.so", "libpthread.so.0", "libm.so.6"):
        library(tmp_path / "lib" / name)
    program(tmp_path, "libpthread.so.0", "libm.so.6", runpath=LIB)
    assert assert_same(tmp_path) == []


def test_preloaded_objects_come_first(tmp_path: Path) -> None:
    library(tmp_path / "lib/libpre.so.1")
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(preload=str(tmp_path / "lib/libpre.so.1"))
    assert assert_same(tmp_path, environment) == ["lib/libpre.so.1", "lib/liba.so.1"]


def test_origin_of_a_linked_library_is_where_the_link_is(tmp_path: Path) -> None:
    library(tmp_path / "lib/libb.so.1")
    library(tmp_path / "real/liba.so.1", "libb.so.1", runpath="$ORIGIN")
    (tmp_path / "lib/liba.so.1").symlink_to("../real/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["real/liba.so.1", "lib/libb.so.1"]
