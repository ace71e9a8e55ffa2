"""BF501, BF509 and BF510: wrong modes, paths of the build machine, and truncated files."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.wheel import NAME, build_wheel
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check


@pytest.mark.parametrize(
    ("mode", "better", "reason"),
    [
        (0o644, "0755", "not executable"),
        (0o777, "0775", "world-writable"),
        (0o600, "0700", "not executable"),
    ],
)
def test_bf501_reports_wrong_modes(
    tmp_path: Path, check: Check, mode: int, better: str, reason: str
) -> None:
    build_elf(tmp_path / "x", program=True).chmod(mode)
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
def test_bf501_reports_a_library_that_other_users_cannot_load(
    tmp_path: Path, check: Check, mode: int, severity: str, reason: str
) -> None:
    if mode == 0o200 and os.geteuid() != 0:
        pytest.skip("only root reads a file of mode 0200")
    build_elf(tmp_path / "liba.so", soname="liba.so").chmod(mode)
    (finding,) = check("BF501")
    assert finding.severity == severity
    assert finding.message == f"has mode {mode:04o}: {reason}"
    assert int(finding.evidence["better"], 8) & 0o446 == 0o444


@pytest.mark.parametrize(
    ("path", "severity"), [("src/testdata/x", "note"), ("bin/test", "error"), ("x", "error")]
)
def test_bf501_is_a_note_about_programs_that_are_test_data(
    tmp_path: Path, check: Check, path: str, severity: str
) -> None:
    build_elf(tmp_path / path, program=True).chmod(0o644)
    assert [f.severity for f in check("BF501")] == [severity]


def test_bf501_is_silent_about_a_library_that_is_not_executable(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "liba.so", soname="liba.so").chmod(0o644)
    interpreter = 'const char path[] __attribute__((section(".interp"))) = "/lib64/ld.so";'
    build_elf(tmp_path / "plugin.so", source=interpreter).chmod(0o644)
    assert check("BF501") == []


@pytest.mark.parametrize(
    ("commands", "count"),
    [("./bin/tool", 0), ({"tool": "bin/tool"}, 0), ({"other": "bin/other"}, 1), (None, 1), (3, 1)],
)
def test_bf501_is_silent_about_a_command_that_npm_makes_executable(
    tmp_path: Path, commands: object, count: int
) -> None:
    build_elf(tmp_path / "p/bin/tool", program=True).chmod(0o644)
    (tmp_path / "p/package.json").write_text(json.dumps({"bin": commands}))
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        archive.add(tmp_path / "p", "package")
    with open_artifact(tmp_path / "p.tgz") as artifact:
        result = check_bundle(read_bundle(artifact.tree, "p.tgz"), CheckPolicy())
    assert [f.rule for f in result.findings].count("BF501") == count


@pytest.mark.parametrize(("mode", "rules"), [(0o644, set()), (0o755, {"BF502"})])
def test_firmware_that_is_not_executable_is_no_program(
    tmp_path: Path, check: Check, mode: int, rules: set[str]
) -> None:
    flags = ("-nostdlib", "-Wl,--no-as-needed,-z,execstack,-e,start")
    image = build_elf(tmp_path / "share/ccw.img", program=True, source="void start(void) {}",
                      flags=flags)  # fmt: skip
    image.chmod(mode)
    assert {f.rule for rule in ("BF501", "BF502") for f in check(rule)} == rules


@pytest.mark.parametrize("flags", [("-static", "-no-pie"), ("-static-pie",)])
def test_bf501_reports_a_static_program_that_is_not_executable(
    tmp_path: Path, check: Check, flags: tuple[str, ...]
) -> None:
    build_elf(tmp_path / "x", program=True, flags=flags).chmod(0o644)
    (finding,) = check("BF501")
    assert finding.message == "has mode 0644: not executable"


@pytest.mark.parametrize("change", [["--only-keep-debug"], ["--change-start", "-0x400000"]])
def test_bf501_is_silent_about_debug_files_and_images_without_an_entry_point(
    tmp_path: Path, check: Check, change: list[str]
) -> None:
    build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    subprocess.run(["objcopy", *change, "x"], cwd=tmp_path, check=True)
    (tmp_path / "x").chmod(0o644)
    assert check("BF501") == []


def test_bf501_is_silent_about_an_image_of_firmware(tmp_path: Path, check: Check) -> None:
    source, flags = "void _start(void) { for (;;); }", ["-static", "-no-pie", "-nostdlib", "-Wl,-N"]
    build_elf(tmp_path / "x", program=True, source=source, flags=flags).chmod(0o644)
    assert check("BF501") == []


def test_bf510_checks_static_programs_but_not_split_debug_files(
    tmp_path: Path, check: Check
) -> None:
    path = build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    build_elf(tmp_path / "liba.so", soname="liba.so")
    command = ["objcopy", "--only-keep-debug", "liba.so", "liba.so.debug"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert check("BF510") == []
    os.truncate(path, path.stat().st_size // 2)
    (finding,) = check("BF510")
    assert (finding.path, finding.severity) == ("x", "error")
    assert finding.evidence["loaded"] > finding.evidence["size"]


@pytest.mark.parametrize(("mode", "count"), [(0o777, 0), (0o700, 0), (0o666, 1)])
def test_bf501_ignores_modes_that_the_installer_of_a_wheel_sets(
    tmp_path: Path, mode: int, count: int
) -> None:
    build_elf(tmp_path / "x/demo/tool", program=True)
    build_elf(tmp_path / "x/demo/libx.so")
    (tmp_path / "x/demo/tool").chmod(mode)
    (tmp_path / "x/demo/libx.so").chmod(mode)
    path = build_wheel(tmp_path / "x", tmp_path / NAME)
    with open_artifact(path) as artifact:
        result = check_bundle(read_bundle(artifact.tree, NAME), CheckPolicy())
    assert len([f for f in result.findings if f.rule == "BF501"]) == count
