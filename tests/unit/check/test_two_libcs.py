"""BF409: musl and glibc in one process, compared with this machine's musl."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import Toolchain, build_elf
from builders.loaders import MUSL_LOADER, create_musl_root, list_with_musl
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

MUSL = Toolchain("musl-gcc")
LIB = "$ORIGIN/../lib"
PORTABLE = "extern int getpid(void); int use(void) { return getpid(); }"
FORTIFIED = """
extern int __printf_chk(int, const char *, ...);
extern const char *gnu_get_libc_version(void);
int use(void) { return __printf_chk(1, "%s", gnu_get_libc_version()); }
"""
THREAD_LOCAL = "__thread int value; int use(void) { return ++value; }"


def build_musl_program(root: Path, *needed: str, source: str | None = None) -> None:
    build_elf(
        root / "bin/x", program=True, needed=needed, toolchain=MUSL, runpath=LIB, source=source
    )


def start_program(root: Path) -> tuple[int, str]:
    """Return the exit code and the errors of the program with this machine's musl."""
    if not Path(MUSL_LOADER).exists():
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail(f"BUNDLE_FIX_TOOLCHAINS=all needs {MUSL_LOADER}")
        pytest.skip(f"this machine has no {MUSL_LOADER}")
    done = subprocess.run([root / "bin/x"], env={}, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def list_findings(root: Path, *rules: str) -> list[Finding]:
    result = check_bundle(read_bundle(read_directory(root), "pack"), CheckPolicy())
    return [f for f in result.findings if f.rule in (rules or ("BF101", "BF405", "BF409"))]


def write_tag(root: Path, platform: str) -> None:
    (root / "x-1.dist-info").mkdir(parents=True)
    (root / "x-1.dist-info/WHEEL").write_text(f"Tag: cp312-cp312-{platform}\n")


def test_musl_loads_a_library_of_glibc_whose_symbols_it_has(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=PORTABLE)
    build_musl_program(tmp_path, "liba.so.1")
    assert [(f.severity, f.path, f.evidence["lacking"]) for f in list_findings(tmp_path)] == [
        ("warning", "lib/liba.so.1", [])
    ]
    assert start_program(tmp_path) == (0, "")


def test_the_symbols_that_musl_lacks_are_named(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=FORTIFIED)
    build_musl_program(tmp_path, "liba.so.1")
    (finding,) = list_findings(tmp_path)
    assert (finding.severity, finding.message) == (
        "error",
        "was linked with glibc (it needs libc.so.6), but bin/x, which loads it, was linked with"
        " musl; musl lacks __printf_chk, gnu_get_libc_version",
    )
    code, errors = start_program(tmp_path)
    assert code == 127
    assert all(f"{name}: symbol not found" in errors for name in finding.evidence["lacking"])


def test_a_symbol_of_glibc_may_come_from_another_library(tmp_path: Path) -> None:
    shim = "int __printf_chk(int f, const char *t) { return 0; }"
    shim += " const char *gnu_get_libc_version(void) { return 0; }"
    build_elf(tmp_path / "lib/libshim.so.1", soname="libshim.so.1", source=shim, toolchain=MUSL)
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=FORTIFIED)
    build_musl_program(tmp_path, "libshim.so.1", "liba.so.1")
    assert [f.severity for f in list_findings(tmp_path)] == ["warning"]
    assert start_program(tmp_path)[0] == 0


def test_the_libraries_that_musl_lacks_are_named_once(tmp_path: Path) -> None:
    root, pack = create_musl_root(tmp_path), tmp_path / "opt/pack"
    build_elf(
        pack / "lib/liba.so.1", soname="liba.so.1", source=THREAD_LOCAL, needed=["libresolv.so.2"]
    )
    build_musl_program(pack, "liba.so.1")
    (finding,) = list_findings(pack)
    lacking = ["libresolv.so.2", "ld-linux-x86-64.so.2"]
    assert (finding.rule, finding.evidence["lacking"]) == ("BF409", lacking)
    assert list_with_musl(root, "/opt/pack/bin/x")[1] == lacking


def test_a_musl_program_that_needs_names_of_glibc(tmp_path: Path) -> None:
    build_musl_program(tmp_path, "libpthread.so.0", "librt.so.1", "libdl.so.2", "libnsl.so.1")
    (finding,) = list_findings(tmp_path)
    assert finding.message == (
        "needs libnsl.so.1, which is neither in the pack nor expected on the host (it belongs to"
        " glibc; musl does not provide it)"
    )


@pytest.mark.parametrize(("needed", "found"), [("libc.musl-x86_64.so.1", 1), ("libc.so.6", 0)])
def test_glibc_does_not_find_musl(tmp_path: Path, needed: str, found: int) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=[needed], flags=["-nolibc"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    assert [f.message for f in list_findings(tmp_path)] == [
        "was linked with musl (it needs libc.musl-x86_64.so.1), but bin/x, which loads it,"
        " was linked with glibc; glibc lacks libc.musl-x86_64.so.1"
    ][:found]


@pytest.mark.parametrize(
    ("platform", "toolchain", "source", "severity"),
    [
        ("musllinux_1_2_x86_64", "musl-gcc", PORTABLE, None),
        ("musllinux_1_2_x86_64", "cc", FORTIFIED, "error"),
        ("musllinux_1_2_x86_64", "cc", PORTABLE, "warning"),
        ("manylinux_2_17_x86_64", "musl-gcc", PORTABLE, "error"),
        ("manylinux_2_17_x86_64", "cc", PORTABLE, None),
        ("linux_x86_64", "musl-gcc", PORTABLE, None),
    ],
)
def test_the_tag_of_a_wheel_names_its_c_library(
    tmp_path: Path, platform: str, toolchain: str, source: str, severity: str | None
) -> None:
    write_tag(tmp_path, platform)
    build_elf(tmp_path / "x/a.so", source=source, toolchain=Toolchain(toolchain))
    found = [f.severity for f in list_findings(tmp_path, "BF101", "BF409", "BF401")]
    assert found == ([severity] if severity else [])


def test_a_plugin_of_the_other_c_library_is_a_note_unless_a_program_opens_it(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/plug.so", source=PORTABLE)
    build_musl_program(tmp_path)
    assert [f.severity for f in list_findings(tmp_path)] == ["note"]
    build_musl_program(
        tmp_path, source=make_dlopen_source("plug.so") + "int main(void) { return 0; }"
    )
    assert [f.severity for f in list_findings(tmp_path)] == ["warning"]


def test_libraries_for_both_c_libraries_are_no_problem(tmp_path: Path) -> None:
    build_elf(tmp_path / "prebuilds/linuxglibc-x64/x.node", source=PORTABLE)
    build_elf(tmp_path / "prebuilds/linuxmusl-x64/x.node", source=PORTABLE, toolchain=MUSL)
    assert list_findings(tmp_path) == []


@pytest.mark.parametrize(("name", "found"), [("bundle_fix_gone", 1), ("open64", 0), ("puts", 0)])
def test_bf405_knows_the_symbols_of_musl(tmp_path: Path, name: str, found: int) -> None:
    source = f"extern int {name}(void); int use(void) {{ return {name}(); }}"
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, toolchain=MUSL)
    build_musl_program(tmp_path, "liba.so.1")
    assert len(list_findings(tmp_path)) == found
    assert start_program(tmp_path)[0] == (127 if found else 0)


def test_musl_ignores_symbol_versions(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "linked/libv.so.1", soname="libv.so.1", toolchain=MUSL,
              source="int greet(void) { return 1; }",
              flags=["-Wl,--default-symver"])  # fmt: skip
    use = "extern int greet(void); int use(void) { return greet(); }"
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=use, toolchain=MUSL,
              flags=[str(tmp_path / "linked/libv.so.1")])  # fmt: skip
    (tmp_path / "linked/libv.so.1").unlink()
    build_elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", toolchain=MUSL,
              source="int greet(void) { return 2; }")  # fmt: skip
    build_musl_program(tmp_path, "liba.so.1")
    assert [check(rule) for rule in ("BF404", "BF405", "BF413")] == [[], [], []]
    assert start_program(tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("platform", "name", "severity"),
    [
        ("musllinux_1_2_x86_64", "libstdc++.so.6", "warning"),
        ("musllinux_1_2_x86_64", "libz.so.1", "note"),
        ("manylinux_2_17_x86_64", "libstdc++.so.6", "note"),
    ],
)
def test_a_musllinux_wheel_may_leave_only_libz_to_the_host(
    tmp_path: Path, platform: str, name: str, severity: str
) -> None:
    write_tag(tmp_path, platform)
    toolchain = MUSL if platform.startswith("musl") else Toolchain()
    build_elf(tmp_path / "x/a.so", needed=[name], toolchain=toolchain)
    assert [f.severity for f in list_findings(tmp_path, "BF110")] == [severity]
