"""BF107: libraries of the pack that LD_LIBRARY_PATH can replace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.host import Environment, build_adversarial_host
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

LIB = "$ORIGIN/../lib"


def check_hostile(root: Path) -> list[str]:
    """Return the findings in a hostile environment, which sets LD_LIBRARY_PATH."""
    bundle = read_bundle(read_directory(root), str(root))
    result = check_bundle(
        bundle, CheckPolicy(), build_adversarial_host(), Environment(hostile=True)
    )
    return [f"{f.rule} {f.path} {f.severity}" for f in result.findings]


def test_bf107_reports_a_library_that_is_found_by_runpath(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    assert check_hostile(tmp_path) == ["BF107 bin/x error"]
    assert check("BF107") == []


@pytest.mark.parametrize("how", ["pinned", "rpath"])
def test_bf107_is_silent_if_library_path_is_searched_later(tmp_path: Path, how: str) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", needed=["liba.so.1"])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    names = ["liba.so.1", "libb.so.1"]
    if how == "pinned":
        needed = [f"{LIB}/{name}" for name in names]
        build_elf(tmp_path / "bin/x", program=True, needed=needed)
    else:
        build_elf(tmp_path / "bin/x", program=True, needed=names, rpath=LIB)
    assert not [found for found in check_hostile(tmp_path) if found.startswith("BF1")]


def test_the_check_command_has_an_option_for_a_hostile_environment(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    done = run_bundle_fix("check", tmp_path, "--env", "hostile", "--format", "json")
    assert done.returncode == 1
    assert [f["rule"] for f in json.loads(done.stdout)["findings"]] == ["BF107"]
    assert run_bundle_fix("check", tmp_path).returncode == 0
