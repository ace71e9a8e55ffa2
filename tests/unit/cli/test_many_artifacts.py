"""Checks of several artifacts, and the options that accept findings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.cli.parallel import check_many
from bundle_fix.model.progress import no_step_progress
from bundle_fix.report.check_report import CheckReport, make_error_report


def write_three_packs(directory: Path) -> tuple[Path, Path, Path]:
    """Write a healthy pack, a truncated one and the incident."""
    good = make_tarball(make_healthy_pack(directory / "good"), directory / "good.tar.gz")
    bad = make_tarball(make_incident_pack(directory / "bad"), directory / "bad.tar.gz")
    cut = directory / "cut.tar.gz"
    cut.write_bytes(good.read_bytes()[:900])
    return good, cut, bad


def test_a_damaged_artifact_does_not_affect_the_others_or_their_order(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", *write_three_packs(tmp_path), "--format", "jsonl")
    reports = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 2
    assert [Path(r["artifact"]).name for r in reports] == [
        "good.tar.gz", "cut.tar.gz", "bad.tar.gz",
    ]  # fmt: skip
    assert [r.get("failed", False) for r in reports] == [False, True, True]
    assert "the archive is truncated" in reports[1]["error"]
    assert ran.stderr.count("\n") == 1


def test_the_text_ends_with_a_total(tmp_path: Path) -> None:
    packs = write_three_packs(tmp_path)
    ran = run_bundle_fix("check", *packs)
    assert ran.stdout.splitlines()[-1] == (
        "3 artifacts: 1 passed, 1 failed, 1 could not be checked"
    )
    quiet = run_bundle_fix("check", "-q", *packs)
    assert "good.tar.gz" not in quiet.stdout
    assert "bad.tar.gz: FAILED" in quiet.stdout


def test_a_list_of_artifacts_is_read_from_stdin(tmp_path: Path) -> None:
    good, _, bad = write_three_packs(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "bundle_fix", "check", "-", "--format", "jsonl"],
        input=f"{good}\n\n{bad}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert [json.loads(line)["artifact"] for line in ran.stdout.splitlines()] == [
        str(good), str(bad),
    ]  # fmt: skip


def fake_check(path: Path) -> CheckReport:
    """Hang, die or return a report, as the name of the artifact says."""
    if path.name == "hangs":
        signal.pause()
    if path.name == "dies":
        signal.raise_signal(signal.SIGKILL)
    return make_error_report(str(path), "")


def test_a_check_that_hangs_or_dies_does_not_affect_the_others() -> None:
    names = ["a", "hangs", "b", "dies", "c"]
    reports = list(
        check_many(
            list(map(Path, names)),
            fake_check,
            jobs=2,
            timeout=1.0,
            report_progress=no_step_progress,
        )
    )
    assert [r.artifact for r in reports] == names
    assert [r.error for r in reports] == [
        "",
        "hangs: the check took longer than 1 s (--timeout)",
        "",
        "dies: the check ended by SIGKILL",
        "",
    ]


def test_the_timeout_also_applies_to_a_single_artifact(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", make_healthy_pack(tmp_path / "p"), "--timeout", "0.0001")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "the check took longer than 0.0001 s (--timeout)" in ran.stderr


def test_exit_zero_reports_findings_and_succeeds(tmp_path: Path) -> None:
    ran = run_bundle_fix("check", make_incident_pack(tmp_path), "--exit-zero")
    assert ran.returncode == 0
    assert "FAILED" in ran.stdout


def test_a_finding_ignored_with_a_reason_does_not_fail(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libx.so.1", soname="libx.so.1")
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1"], runpath=".:$ORIGIN/../lib")
    accepted = run_bundle_fix("check", tmp_path / "p", "--ignore", "BF203:bin/*=old start script")
    assert accepted.returncode == 0
    assert "1 ignored" in accepted.stdout
    unused = run_bundle_fix("check", tmp_path / "p", "--ignore", "BF203:lib/*=nothing there")
    assert unused.returncode == 1
    assert "the ignore entry for BF203 at lib/* (nothing there) matches no finding" in " ".join(
        unused.stdout.split()
    )


@pytest.mark.parametrize("text", ["BF203", "BF203=", "=because", "BF203:bin/*= "])
def test_an_ignore_without_rule_or_reason_is_refused(tmp_path: Path, text: str) -> None:
    ran = run_bundle_fix("check", tmp_path, "--ignore", text)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "expected RULE[:PATH]=REASON" in ran.stderr


def test_only_findings_that_are_not_in_the_baseline_count(tmp_path: Path) -> None:
    pack = make_incident_pack(tmp_path / "pegasus-2.5.0")
    baseline = tmp_path / "old.json"
    run_bundle_fix("check", pack, "--format", "json", "-o", baseline)
    assert run_bundle_fix("check", pack, "--baseline", baseline).returncode == 0
    newer = (tmp_path / "pegasus-2.5.1").absolute()
    pack.rename(newer)
    build_elf(newer / "bin/tool", program=True, needed=["libgone.so.1"])
    ran = run_bundle_fix("check", newer, "--baseline", baseline, "--format", "json")
    found = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert [(f["rule"], f["path"]) for f in found["findings"]] == [("BF101", "bin/tool")]
    assert found["ignored"] == 3


@pytest.mark.parametrize("text", ["", "[1]", '{"schema": 1}', "\x00", "not json"])
def test_a_baseline_that_is_not_a_report_is_refused(tmp_path: Path, text: str) -> None:
    baseline = tmp_path / "old.json"
    baseline.write_text(text)
    ran = run_bundle_fix("check", make_healthy_pack(tmp_path / "p"), "--baseline", baseline)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"{baseline}: not a report of bundle-fix check" in ran.stderr


def test_the_baseline_of_glibc_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    assert run_bundle_fix("check", tmp_path, "--glibc", "2.99").returncode == 0
    ran = run_bundle_fix("check", tmp_path, "--glibc", "2.2")
    assert ran.returncode == 1
    assert "newer than the baseline glibc 2.2" in " ".join(ran.stdout.split())
