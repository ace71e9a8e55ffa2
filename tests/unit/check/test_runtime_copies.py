"""BF311 and BF312: copies of run-time libraries, with g++'s own and with small stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import Toolchain, build_elf

from .conftest import Check
from .packs import (
    EMPTY_MAIN,
    LIB,
    RUNTIME_FUNCTIONS,
    build_library,
    build_openmp_users,
    build_server,
    build_static_runtime,
)

CXX = Toolchain("g++")
THROWING = """
#include <stdexcept>
#include <string>
extern "C" int use(int n) {
    try { if (n) throw std::runtime_error(std::string(n, 'x')); } catch (std::exception &) { }
    return 0;
}
"""
MAIN = THROWING + "int main() { return use(1); }"


def build_static_copy(root: Path, *flags: str) -> None:
    """Build a C++ library with g++'s libstdc++ inside it."""
    build_library(
        root, source=THROWING, toolchain=CXX, flags=["-static-libstdc++", "-static-libgcc", *flags]
    )


@pytest.mark.parametrize(
    ("flags", "found"),
    [([], ["lib/liba.so.1"]), (["-Wl,--exclude-libs,ALL"], [])],
)
def test_bf311_reports_a_copy_of_gcc_that_is_exported(
    tmp_path: Path, check: Check, flags: list[str], found: list[str]
) -> None:
    build_static_copy(tmp_path, *flags)
    build_server(tmp_path, "liba.so.1", source=MAIN, toolchain=CXX)
    assert list(dict.fromkeys(f.path for f in check("BF311"))) == found


def test_bf311_is_silent_if_no_object_needs_the_shared_library(
    tmp_path: Path, check: Check
) -> None:
    build_static_copy(tmp_path)
    build_server(tmp_path, "liba.so.1")
    assert check("BF311") == []


def test_bf311_is_silent_about_a_program_with_the_only_copy(tmp_path: Path, check: Check) -> None:
    build_server(
        tmp_path, source=MAIN, toolchain=CXX, flags=["-static-libstdc++", "-static-libgcc"]
    )
    assert check("BF311") == []


def test_bf311_is_silent_about_a_copy_that_no_other_object_binds_to(
    tmp_path: Path, check: Check
) -> None:
    build_static_runtime(tmp_path, *RUNTIME_FUNCTIONS)
    assert len(check("BF311")) == 1
    build_server(tmp_path, "libstdc++.so.6", "liba.so.1", source=EMPTY_MAIN)
    assert check("BF311") == []


def test_bf312_is_silent_about_runtimes_of_different_programs(tmp_path: Path, check: Check) -> None:
    build_openmp_users(tmp_path, "GOMP_parallel", "__kmpc_fork_call")
    assert len(check("BF312")) == 1
    (tmp_path / "bin/server").unlink()
    users = (("libgomp.so.1", "GOMP_parallel"), ("libiomp5.so", "__kmpc_fork_call"))
    for name, function in users:
        build_elf(
            tmp_path / "bin" / function, program=True, runpath=LIB,
            source=f"extern void {function}(void); int main(void) {{ {function}(); return 0; }}",
            flags=[str(tmp_path / "lib" / name)],
        )  # fmt: skip
    assert check("BF312") == []


def test_bf312_is_silent_about_a_plugin_that_no_program_opens(tmp_path: Path, check: Check) -> None:
    build_openmp_users(tmp_path, "GOMP_parallel")
    build_elf(
        tmp_path / "plugins/p.so", runpath=LIB,
        source="extern void __kmpc_fork_call(void); void use(void) { __kmpc_fork_call(); }",
        flags=[str(tmp_path / "lib/libiomp5.so")],
    )  # fmt: skip
    assert check("BF312") == []
