from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.elf import elf
from bundle_fix.check.facts.abi import parse_glibc_version

from .conftest import Check


def test_bf401_names_versions_newer_than_the_baseline(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "x", program=True)
    (finding,) = check("BF401", glibc="2.2")
    assert finding.path == "x"
    assert ", newer than the baseline glibc 2.2 (__libc_start_main@GLIBC_2." in finding.message
    assert all(
        (parse_glibc_version(v) or ()) > (2, 2)
        for vs in finding.evidence["versions"].values()
        for v in vs
    )


def test_bf401_is_silent_without_a_baseline_or_below_it(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "x", program=True)
    assert check("BF401") == []
    assert check("BF401", glibc="9.9") == []


@pytest.mark.parametrize(
    ("version", "number"),
    [("GLIBC_2.17", (2, 17)), ("GLIBC_2.2.5", (2, 2, 5)), ("GLIBC_PRIVATE", None), ("X_1", None)],
)
def test_glibc_versions_compare_as_numbers(version: str, number: object) -> None:
    assert parse_glibc_version(version) == number


@pytest.mark.parametrize(
    ("mode", "better", "reason"),
    [
        (0o644, "0755", "not executable"),
        (0o777, "0775", "world-writable"),
        (0o600, "0700", "not executable"),
    ],
)
def test_bf501_names_wrong_modes(
    tmp_path: Path, check: Check, mode: int, better: str, reason: str
) -> None:
    elf(tmp_path / "x", program=True).chmod(mode)
    (finding,) = check("BF501")
    assert (finding.evidence["better"], reason in finding.message) == (better, True)


@pytest.mark.parametrize(
    ("mode", "severity", "reason"),
    [
        (0o200, "error", "not readable"),
        (0o640, "warning", "readable by its owner only"),
        (0o602, "error", "world-writable, readable by its owner only"),
    ],
)
def test_bf501_names_a_library_that_others_cannot_load(
    tmp_path: Path, check: Check, mode: int, severity: str, reason: str
) -> None:
    elf(tmp_path / "liba.so", soname="liba.so").chmod(mode)
    (finding,) = check("BF501")
    assert finding.severity == severity
    assert finding.message == f"has the mode {mode:04o}: {reason}"
    assert int(finding.evidence["better"], 8) & 0o446 == 0o444


@pytest.mark.parametrize(
    ("path", "severity"), [("src/testdata/x", "note"), ("bin/test", "error"), ("x", "error")]
)
def test_bf501_does_not_ask_that_what_a_test_reads_can_run(
    tmp_path: Path, check: Check, path: str, severity: str
) -> None:
    elf(tmp_path / path, program=True).chmod(0o644)
    assert [f.severity for f in check("BF501")] == [severity]


def test_bf501_is_silent_about_a_library_that_is_not_executable(
    tmp_path: Path, check: Check
) -> None:
    elf(tmp_path / "liba.so", soname="liba.so").chmod(0o644)
    assert check("BF501") == []


def test_bf510_counts_programs_without_a_loader_and_not_split_debug_files(
    tmp_path: Path, check: Check
) -> None:
    path = elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    elf(tmp_path / "liba.so", soname="liba.so")
    keep = ["objcopy", "--only-keep-debug", tmp_path / "liba.so", tmp_path / "liba.so.debug"]
    subprocess.run(keep, check=True)
    assert check("BF510") == []
    os.truncate(path, path.stat().st_size // 2)
    (finding,) = check("BF510")
    assert (finding.path, finding.severity) == ("x", "error")
    assert finding.evidence["loaded"] > finding.evidence["size"]
