"""BF310, BF313 and BF314: what certainly clashes in one process, and what only looks like it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import Toolchain, build_elf

from .conftest import Check
from .packs import EMPTY_MAIN, LIB, build_library, build_server, build_unique_copies

CALL = "extern int both(void); int {0}(void) {{ return both(); }}"
SYMVER = "-Wl,--default-symver"


def build_versions(root: Path, *flags: str, keyword: str = "") -> None:
    """Build two versions of a library; the function ``both`` returns the version."""
    for version in (1, 2):
        source = f"{keyword} int both(void) {{ return {version}; }} int v{version};"
        build_library(root, f"libv.so.{version}", source=source, flags=flags)


def build_user_of_v1(root: Path, at: str = "", **more: object) -> None:
    build_library(
        root, "libuse.so.1", at, source=CALL.format("use"), runpath=LIB,
        flags=[str(root / "lib/libv.so.1")], **more,
    )  # fmt: skip


def build_program_of_v2(root: Path) -> None:
    """Build a program that needs version 2 and exits with the version that the library calls."""
    source = "extern int use(void); int main(void) { return use(); }"
    linked = [f"-Wl,-rpath-link,{root}/lib", str(root / "lib/libuse.so.1")]
    build_server(root, "libv.so.2", source=source, flags=linked)


def get_exit_code(root: Path) -> int:
    return subprocess.run([root / "bin/server"], check=False).returncode


@pytest.mark.parametrize(("flags", "version"), [((), 2), ((SYMVER,), 1)])
def test_bf310_reports_the_version_that_the_real_loader_binds(
    tmp_path: Path, check: Check, flags: tuple[str, ...], version: int
) -> None:
    build_versions(tmp_path, *flags)
    build_user_of_v1(tmp_path)
    build_program_of_v2(tmp_path)
    assert get_exit_code(tmp_path) == version
    found = [(f.severity, f.evidence["bindings"]) for f in check("BF310")]
    assert found == ([("error", {"lib/libuse.so.1": ["both"]})] if version == 2 else [])


def test_bf310_is_silent_about_weak_definitions(tmp_path: Path, check: Check) -> None:
    build_versions(tmp_path, keyword="__attribute__((weak))")
    build_user_of_v1(tmp_path)
    build_program_of_v2(tmp_path)
    assert check("BF310") == []


@pytest.mark.parametrize(("flags", "found"), [((), 1), (("-Wl,-Bsymbolic",), 0)])
def test_bf310_reports_a_version_that_calls_itself_through_the_other(
    tmp_path: Path, check: Check, flags: tuple[str, ...], found: int
) -> None:
    for version in (1, 2):
        source = f"int both(void) {{ return {version}; }} int call{version}(void) {{"
        build_library(
            tmp_path, f"libv.so.{version}", source=source + " return both(); }", flags=flags
        )
    build_server(tmp_path, "libv.so.2", "libv.so.1")
    assert len(check("BF310")) == found


def test_bf310_is_silent_about_versions_in_different_programs(tmp_path: Path, check: Check) -> None:
    build_versions(tmp_path)
    for version in (1, 2):
        build_elf(
            tmp_path / f"bin/x{version}", program=True, needed=[f"libv.so.{version}"], runpath=LIB
        )
    assert check("BF310") == []


def test_bf310_is_silent_about_libraries_of_other_names(tmp_path: Path, check: Check) -> None:
    for name in ("libone.so.1", "libother.so.2"):
        build_library(tmp_path, name, source="int both(void) { return 1; }")
    build_server(
        tmp_path, source=CALL.format("main"),
        flags=[str(tmp_path / "lib" / name) for name in ("libone.so.1", "libother.so.2")],
    )  # fmt: skip
    assert check("BF310") == []


@pytest.mark.parametrize("opens", [True, False])
def test_bf310_is_a_warning_for_a_plugin_of_a_program_with_the_other_version(
    tmp_path: Path, check: Check, opens: bool
) -> None:
    build_versions(tmp_path)
    build_user_of_v1(tmp_path, "plugins/libuse.so.1")
    source = make_dlopen_source("libuse.so.1") if opens else ""
    build_server(tmp_path, "libv.so.2", source=f"{source}\n{EMPTY_MAIN}")
    assert [f.severity for f in check("BF310")] == (["warning"] if opens else [])


def test_bf310_is_silent_about_a_plugin_that_a_program_of_no_version_opens(
    tmp_path: Path, check: Check
) -> None:
    build_versions(tmp_path)
    build_user_of_v1(tmp_path, "plugins/libuse.so.1")
    build_server(tmp_path, source=f"{make_dlopen_source('libuse.so.1')}\n{EMPTY_MAIN}")
    assert check("BF310") == []


def build_programs_of_copies(root: Path) -> None:
    build_unique_copies(root, "shared", "shared")
    for number in (0, 1):
        (root / f"plugins/p{number}.so").unlink()
        build_elf(
            root / f"bin/x{number}", program=True, needed=[f"libq-0000000{number}.so.1"],
            runpath=LIB,
        )  # fmt: skip


def test_bf313_is_silent_about_copies_in_different_programs(tmp_path: Path, check: Check) -> None:
    build_programs_of_copies(tmp_path)
    assert check("BF313") == []


def test_bf313_is_silent_about_symbols_of_the_standard_library(
    tmp_path: Path, check: Check
) -> None:
    name = "_ZNSs4_Rep20_S_empty_rep_storageE"
    build_unique_copies(tmp_path, name, name)
    assert check("BF313") == []


def test_bf313_is_a_warning_if_one_process_loads_both_copies(tmp_path: Path, check: Check) -> None:
    build_unique_copies(tmp_path, "shared", "shared")
    assert [f.severity for f in check("BF313")] == ["note"]
    build_server(tmp_path, "libq-00000000.so.1", "libq-00000001.so.1")
    assert [f.severity for f in check("BF313")] == ["warning"]


def test_bf313_is_silent_with_musl_which_treats_them_as_other_symbols(
    tmp_path: Path, check: Check
) -> None:
    build_unique_copies(tmp_path, "shared", "shared", toolchain=Toolchain("musl-gcc"))
    assert check("BF313") == []


def build_two_users(root: Path, tag: str) -> None:
    """Build a program and a library whose search paths lead to one name in two directories."""
    build_library(root, tag="one")
    build_library(root, at="ui/liba.so.1", tag=tag)
    build_library(root, "libui.so.1", "ui/libui.so.1", needed=["liba.so.1"], runpath="$ORIGIN")


@pytest.mark.parametrize(("tag", "found"), [("other", 1), ("one", 0)])
def test_bf314_is_silent_about_identical_files(
    tmp_path: Path, check: Check, tag: str, found: int
) -> None:
    build_two_users(tmp_path, tag)
    build_server(tmp_path, "liba.so.1", "libui.so.1", runpath=f"{LIB}:$ORIGIN/../ui")
    assert len(check("BF314")) == found


def test_bf314_is_silent_about_a_symlink_to_the_same_file(tmp_path: Path, check: Check) -> None:
    build_two_users(tmp_path, "other")
    (tmp_path / "ui/liba.so.1").unlink()
    (tmp_path / "ui/liba.so.1").symlink_to(Path("..", "lib", "liba.so.1"))
    build_server(tmp_path, "liba.so.1", "libui.so.1", runpath=f"{LIB}:$ORIGIN/../ui")
    assert check("BF314") == []


def test_bf314_is_silent_about_files_in_different_programs(tmp_path: Path, check: Check) -> None:
    build_two_users(tmp_path, "other")
    build_server(tmp_path, "liba.so.1")
    build_elf(tmp_path / "bin/ui", program=True, needed=["libui.so.1"], runpath="$ORIGIN/../ui")
    assert check("BF314") == []
