"""BF405: symbols that no object of a process defines, and those that an unknown one may define."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import build_elf, build_versioned_library

from .conftest import Check

LIB = "$ORIGIN/../lib"


def make_caller(symbol: str) -> str:
    """Return the source of a program that calls a function."""
    return f'extern int g(void) __asm__("{symbol}"); int main(void) {{ return g(); }}'


def make_definition(symbol: str) -> str:
    """Return the source of a library that defines a function."""
    return f'int g(void) __asm__("{symbol}"); int g(void) {{ return 0; }}'


def build_program_and_library(root: Path, used: str, defined: str) -> None:
    """Build a program that is linked with one copy of a library, in a pack with another copy."""
    linked = build_elf(root / "linked.so", soname="libg.so.1", source=make_definition(used))
    build_elf(root / "lib/libg.so.1", soname="libg.so.1", source=make_definition(defined))
    build_elf(
        root / "bin/x", program=True, source=make_caller(used), runpath=LIB, flags=[str(linked)]
    )
    linked.unlink()


@pytest.mark.parametrize("symbol", ["_ZN3two5greetEv", "two_greet"])
def test_bf405_reports_a_symbol_that_the_packs_copy_lacks(
    tmp_path: Path, check: Check, symbol: str
) -> None:
    build_program_and_library(tmp_path, symbol, "one_greet")
    (finding,) = check("BF405")
    assert (finding.severity, finding.path) == ("error", "bin/x")
    assert finding.message == f"uses {symbol}, which no object defines"
    assert finding.evidence["searched"] == ["bin/x", "lib/libg.so.1", "/lib64/libc.so.6"]


@pytest.mark.parametrize("symbol", ["_ZN3one5greetEv", "one_greet"])
def test_bf405_is_silent_if_a_library_of_the_pack_defines_the_symbol(
    tmp_path: Path, check: Check, symbol: str
) -> None:
    build_program_and_library(tmp_path, symbol, symbol)
    assert check("BF405") == []


def test_bf405_reports_a_symbol_of_a_library_with_the_program_that_loads_it(
    tmp_path: Path, check: Check
) -> None:
    use = "extern int gone(void); int again(void) { return gone(); }"
    build_elf(tmp_path / "lib/libu.so.1", soname="libu.so.1", source=use)
    build_elf(tmp_path / "bin/x", program=True, needed=["libu.so.1"], runpath=LIB)
    (finding,) = check("BF405")
    assert finding.path == "lib/libu.so.1"
    assert finding.message == "uses gone, which no object in the process of bin/x defines"


def test_bf405_is_silent_about_weak_symbols(tmp_path: Path, check: Check) -> None:
    use = "__attribute__((weak)) int gone(void); int again(void) { return gone ? gone() : 0; }"
    build_elf(tmp_path / "lib/libu.so.1", soname="libu.so.1", source=use)
    build_elf(tmp_path / "bin/x", program=True, needed=["libu.so.1"], runpath=LIB)
    assert check("BF405") == []


def test_bf405_is_silent_about_symbols_that_the_program_itself_make_definition(
    tmp_path: Path, check: Check
) -> None:
    use = "extern int callback(void); int again(void) { return callback(); }"
    build_elf(tmp_path / "lib/libu.so.1", soname="libu.so.1", source=use)
    main = "int callback(void) { return 0; } int main(void) { return 0; }"
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libu.so.1"],
        runpath=LIB,
        source=main,
        flags=["-rdynamic"],
    )
    assert check("BF405") == []


@pytest.mark.parametrize(("symbol", "found"), [("strtol", 0), ("__own_helper", 0), ("gone", 1)])
def test_bf405_knows_the_exports_of_glibc_if_no_object_was_linked_with_it(
    tmp_path: Path, check: Check, symbol: str, found: int
) -> None:
    use = f"extern int {symbol}(void); int again(void) {{ return {symbol}(); }}"
    flags = ["-nostdlib", "-fno-builtin"]
    build_elf(tmp_path / "lib/libu.so.1", soname="libu.so.1", source=use, flags=flags)
    build_elf(tmp_path / "bin/x", program=True, needed=["libu.so.1"], runpath=LIB)
    assert len(check("BF405")) == found


def test_bf405_is_silent_if_a_library_of_the_host_may_define_the_symbol(
    tmp_path: Path, check: Check
) -> None:
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libz.so.1"],
        source=make_caller("_ZN3two5greetEv"),
        flags=["-Wl,--unresolved-symbols=ignore-all"],
    )
    assert check("BF405", host=("libz.so.1",)) == []


@pytest.mark.parametrize(("defined", "found"), [("other", 1), ("greet", 0)])
def test_bf405_checks_the_version_with_which_the_symbol_was_linked(
    tmp_path: Path, check: Check, defined: str, found: int
) -> None:
    """The version exists, so the loader starts the program, but no longer with the symbol."""
    linked = build_versioned_library(tmp_path / "linked/libv.so.1", "libv.so.1", "greet", ["V_1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        source=make_caller("greet"),
        runpath=LIB,
        flags=[str(linked)],
    )
    shutil.rmtree(linked.parent)
    build_versioned_library(tmp_path / "lib/libv.so.1", "libv.so.1", defined, ["V_1"])
    assert [f.evidence["symbols"] for f in check("BF405")] == [["greet@V_1"]][:found]
    assert check("BF404") == []


@pytest.mark.parametrize("has_plugin", [False, True])
def test_bf405_knows_which_library_must_define_a_symbol_with_a_version(
    tmp_path: Path, check: Check, has_plugin: bool
) -> None:
    linked = build_versioned_library(tmp_path / "linked/libv.so.1", "libv.so.1", "greet", ["V_1"])
    flags, source = [str(linked)], make_caller("greet").replace("main", "again")
    if not has_plugin:
        build_elf(
            tmp_path / "bin/x",
            program=True,
            source=make_caller("greet"),
            needed=["libz.so.1"],
            runpath=LIB,
            flags=flags,
        )
    else:
        build_elf(tmp_path / "bin/x", program=True)
        build_elf(tmp_path / "plugins/p.so", source=source, runpath=LIB, flags=flags)
    shutil.rmtree(linked.parent)
    build_versioned_library(tmp_path / "lib/libv.so.1", "libv.so.1", "other", ["V_1"])
    severity, path = ("warning", "plugins/p.so") if has_plugin else ("error", "bin/x")
    found = check("BF405", host=("libz.so.1",))
    assert [(f.severity, f.path, f.evidence["symbols"]) for f in found] == [
        (severity, path, ["greet@V_1"])
    ]


def test_bf405_is_silent_about_symbols_of_a_plugin_that_its_program_may_define(
    tmp_path: Path, check: Check
) -> None:
    use = "extern int callback(void); int again(void) { return callback(); }"
    build_elf(tmp_path / "plugins/p.so", source=use)
    build_elf(tmp_path / "bin/x", program=True)
    assert check("BF405") == []
