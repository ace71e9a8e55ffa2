"""BF113: copies of libraries for newer processors, in ``glibc-hwcaps`` directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf

from .conftest import Check

LIB = "$ORIGIN/../lib"
V3 = "lib/glibc-hwcaps/x86-64-v3"


def make_pack(root: Path, source: str = "int one(void) { return 1; }") -> None:
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", source=source)
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)


@pytest.mark.parametrize(
    ("soname", "source", "severity", "problem"),
    [
        (None, "int one;", "error", "but its soname is missing, not liba.so.1"),
        ("liba.so.2", "int one;", "error", "but its soname is liba.so.2, not liba.so.1"),
        ("liba.so.1", "int two;", "error", "but it does not define one"),
        ("liba.so.1", "int one, two;", None, ""),
    ],
)
def test_bf113_compares_a_copy_with_the_plain_one(
    tmp_path: Path,
    check: Check,
    soname: str | None,
    source: str,
    severity: str | None,
    problem: str,
) -> None:
    make_pack(tmp_path)
    build_elf(tmp_path / V3 / "liba.so.1", soname=soname, source=source)
    found = check("BF113")
    assert [(f.severity, f.path) for f in found] == (
        [(severity, f"{V3}/liba.so.1")] if severity else []
    )
    assert all(f.message.endswith(problem) for f in found)


def test_bf113_warns_about_a_copy_of_another_version(tmp_path: Path, check: Check) -> None:
    source = "int one(void) { return 1; }"
    for directory, version in (("lib", "1.2"), (V3, "1.1")):
        build_elf(tmp_path / directory / f"liba.so.{version}", soname="liba.so.1", source=source)
        (tmp_path / directory / "liba.so.1").symlink_to(f"liba.so.{version}")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    (finding,) = check("BF113")
    assert finding.severity == "warning"
    assert finding.evidence["files"] == [f"{V3}/liba.so.1.1", "lib/liba.so.1.2"]


def test_bf113_is_a_note_about_a_copy_for_another_machine(tmp_path: Path, check: Check) -> None:
    make_pack(tmp_path)
    build_elf(tmp_path / V3 / "liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    assert [f.severity for f in check("BF113")] == ["note"]


@pytest.mark.parametrize(("runpath", "found"), [("$ORIGIN", 1), ("$ORIGIN/../..", 0)])
def test_bf113_checks_the_needed_names_of_the_copy_itself(
    tmp_path: Path, check: Check, runpath: str, found: int
) -> None:
    """A RUNPATH that is correct in lib/ is wrong two directories below it."""
    source = "int one(void) { return 1; }"
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    for directory, path in (("lib", "$ORIGIN"), (V3, runpath)):
        build_elf(
            tmp_path / directory / "liba.so.1", soname="liba.so.1", needed=["libb.so.1"],
            runpath=path, source=source,
        )  # fmt: skip
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    assert [f.evidence["needed"] for f in check("BF113")] == ["libb.so.1"] * found
