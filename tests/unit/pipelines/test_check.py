"""The findings that a check calls fixable are those that a repair removes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_incident_pack, make_tarball
from bundle_fix.check.findings import get_subject
from bundle_fix.check.result import CheckResult
from bundle_fix.pipelines.check import check_artifact
from bundle_fix.pipelines.fix import Options, fix_artifact
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy


def check(path: Path) -> CheckResult:
    with open_on_target(path, Target()) as artifact:
        return check_artifact(artifact, CheckPolicy(), {})


def list_fixable(result: CheckResult, *, fixable: bool) -> set[tuple[str, str, str]]:
    return {(f.rule, f.path, get_subject(f)) for f in result.findings if f.fixable is fixable}


def make_mixed_pack(root: Path) -> Path:
    """Make a pack with problems of which `fix` repairs some."""
    make_incident_pack(root)
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", needed=["libmissing.so.1"])
    build_elf(root / "bin/y", program=True, needed=["liba.so.1"], runpath="/opt/build/lib")
    return root


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_finding_is_fixable_if_and_only_if_fix_removes_it(tmp_path: Path, suffix: str) -> None:
    pack = tmp_path / f"pack{suffix}"
    make_mixed_pack(tmp_path / "pack")
    if suffix == ".zip":
        shutil.make_archive(str(tmp_path / "pack"), "zip", tmp_path / "pack")
    else:
        make_tarball(tmp_path / "pack", pack)
    before = check(pack)
    output = tmp_path / f"fixed{suffix}"
    fixed = fix_artifact(pack, output, Options(force=True))
    assert before.fails_after_fix
    assert fixed.verdict.failed
    left = list_fixable(check(output), fixable=False)
    assert list_fixable(before, fixable=True).isdisjoint(left)
    assert list_fixable(before, fixable=False) <= left
    assert {f.rule for f in before.findings if f.fixable} >= {"BF102", "BF306"}


def test_nothing_of_an_artifact_that_fix_refuses_is_fixable(tmp_path: Path) -> None:
    make_incident_pack(tmp_path)
    assert list_fixable(check(tmp_path), fixable=True)
    assert not list_fixable(check(tmp_path / "bin/server"), fixable=True)


def test_a_pack_that_a_repair_makes_pass_is_known_as_such(tmp_path: Path) -> None:
    result = check(make_incident_pack(tmp_path))
    assert result.failed
    assert not result.fails_after_fix
