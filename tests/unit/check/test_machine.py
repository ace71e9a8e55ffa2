"""BF407, BF408 and BF410: files for another machine, processor or operating system."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.host import AdversarialHost
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check


def test_bf407_reports_a_library_for_another_machine(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", toolchain=CROSS["aarch64"])
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib/libc2.so.1", soname="libc2.so.1")
    assert [(f.severity, f.path) for f in check("BF407")] == [
        ("error", "lib/liba.so.1"),
        ("note", "lib/libb.so.1"),
    ]


@pytest.mark.parametrize("level", ["", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_bf408_reports_a_file_marked_for_newer_processors(
    tmp_path: Path, check: Check, level: str
) -> None:
    build_elf(tmp_path / "x", program=True, flags=[f"-Wl,-z,{level}"] if level else [])
    assert [f.evidence["level"] for f in check("BF408")] == ([level] if level else [])


@pytest.mark.parametrize(
    ("target", "severity"),
    [(None, "warning"), ("x86-64-v2", "error"), ("x86-64-v3", None), ("x86-64-v4", None)],
)
def test_bf408_compares_with_the_targets_processor(
    tmp_path: Path, target: str | None, severity: str | None
) -> None:
    build_elf(tmp_path / "x", program=True, flags=["-Wl,-z,x86-64-v3"])
    bundle = read_bundle(read_directory(tmp_path), "pack")
    found = check_bundle(bundle, CheckPolicy(), AdversarialHost(level=target)).findings
    assert [f.severity for f in found if f.rule == "BF408"] == ([severity] if severity else [])


@pytest.mark.parametrize(("level", "found"), [("x86-64-v3", 0), ("x86-64-v2", 1)])
def test_bf408_accepts_the_level_of_a_hwcaps_directory_in_it(
    tmp_path: Path, check: Check, level: str, found: int
) -> None:
    path = tmp_path / f"lib/glibc-hwcaps/{level}/liba.so.1"
    build_elf(path, soname="liba.so.1", flags=["-Wl,-z,x86-64-v3"])
    assert len(check("BF408")) == found


def test_a_file_for_another_system_is_named_and_not_checked(tmp_path: Path) -> None:
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.2", needed=["libgone.so.1"], runpath="/opt/x"
    )
    data = bytearray((tmp_path / "lib/liba.so.1").read_bytes())
    data[7] = 9
    (tmp_path / "lib/liba.so.1").write_bytes(data)
    bundle = read_bundle(read_directory(tmp_path), "pack")
    found = check_bundle(bundle, CheckPolicy()).findings
    assert [(f.rule, f.path, f.severity) for f in found] == [
        ("BF002", "", "note"), ("BF410", "lib/liba.so.1", "note"),
    ]  # fmt: skip


def test_the_loader_refuses_a_library_of_another_system(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    data = bytearray((tmp_path / "lib/liba.so.1").read_bytes())
    data[7] = 9
    (tmp_path / "lib/liba.so.1").write_bytes(data)
    (finding,) = check("BF101")
    verdicts = [step["verdict"] for step in finding.evidence["trace"]]
    assert (finding.severity, verdicts) == ("error", ["for FreeBSD: the search fails here"])
