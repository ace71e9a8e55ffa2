"""BF103 to BF105 and BF115: missing, broken, escaping and stale symlinks."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack

from .conftest import Check
from .packs import build_stale_symlink


def test_a_name_that_is_not_found_without_a_symlink_is_one_finding(
    tmp_path: Path, check: Check
) -> None:
    make_incident_pack(tmp_path)
    (finding,) = check("BF102")
    assert (finding.severity, finding.path) == ("error", "bin/server")
    assert finding.evidence["causes"] == ["BF103"]
    assert check("BF103") == []


def test_bf103_is_a_note_about_a_library_that_nothing_needs(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so", soname="liba.so.1")
    (finding,) = check("BF103")
    assert (finding.severity, finding.path) == ("note", "lib/liba.so")
    assert finding.evidence["symlink"] == "lib/liba.so.1"


def test_bf103_is_silent_if_a_symlink_has_the_soname(tmp_path: Path, check: Check) -> None:
    make_healthy_pack(tmp_path)
    assert check("BF103") == []


def test_bf103_is_silent_about_plugins_with_another_soname(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/fast.cpython-311.so", soname="libfast-impl.so")
    assert check("BF103") == []


def test_bf104_reports_dangling_symlinks_and_loops(tmp_path: Path, check: Check) -> None:
    (tmp_path / "a").symlink_to("nothing")
    (tmp_path / "b").symlink_to("c")
    (tmp_path / "c").symlink_to("b")
    found = {f.path: (f.severity, f.message) for f in check("BF104")}
    assert found == {
        "a": ("warning", "is a symlink to nothing, which does not exist in the pack"),
        "b": ("warning", "is a symlink to c, which is a symlink loop"),
        "c": ("warning", "is a symlink to b, which is a symlink loop"),
    }


def test_bf104_is_an_error_if_an_object_needs_the_name(tmp_path: Path, check: Check) -> None:
    (tmp_path / "liba.so.1").symlink_to("liba.so.1.2")
    build_elf(tmp_path / "x", program=True, needed=["liba.so.1"], runpath="$ORIGIN")
    assert [f.severity for f in check("BF104")] == ["error"]


def test_bf105_reports_symlinks_that_leave_the_pack(tmp_path: Path, check: Check) -> None:
    (tmp_path / "etc").symlink_to("/etc/x")
    (tmp_path / "up").symlink_to("../up")
    (tmp_path / "inside").symlink_to("bin/../x")
    (tmp_path / "bin").mkdir()
    (tmp_path / "x").write_text("")
    assert [f.path for f in check("BF105")] == ["etc", "up"]


def test_bf115_is_an_error_if_a_program_loads_the_other_version(
    tmp_path: Path, check: Check
) -> None:
    build_stale_symlink(tmp_path, target="libb.so.1.0")
    (finding,) = check("BF115")
    assert (finding.severity, finding.path) == ("error", "lib/libb.so.2")
    assert finding.message == (
        "leads to lib/libb.so.1.0, which is libb.so.1; libb.so.2 is lib/libb.so.2.0"
    )
    assert finding.fixable


def test_bf115_is_a_warning_if_nothing_loads_the_other_version(
    tmp_path: Path, check: Check
) -> None:
    build_stale_symlink(tmp_path, target="libb.so.1.0")
    (tmp_path / "bin/server").unlink()
    (tmp_path / "lib/libb.so.2.0.0").symlink_to("libb.so.1")
    (tmp_path / "lib/libb.so.1").symlink_to("libb.so.1.0")
    found = {f.path: f.severity for f in check("BF115")}
    assert found == {"lib/libb.so.2": "warning", "lib/libb.so.2.0.0": "warning"}


def test_bf115_is_not_repaired_if_two_files_are_of_the_named_version(
    tmp_path: Path, check: Check
) -> None:
    build_stale_symlink(tmp_path, target="libb.so.1.0")
    build_elf(tmp_path / "lib/libb.so.2.1", soname="libb.so.2", tag="another")
    (finding,) = check("BF115")
    assert not finding.fixable
    assert finding.evidence["right"] == ["lib/libb.so.2.0", "lib/libb.so.2.1"]


@pytest.mark.parametrize("name", ["libb.so", "libb.so.1", "libb.so.1.9", "libc.so.2", "libb.so.3"])
def test_bf115_is_silent_about_other_names_of_a_library(
    tmp_path: Path, check: Check, name: str
) -> None:
    build_stale_symlink(tmp_path, target="libb.so.2.0")
    (tmp_path / f"lib/{name}").symlink_to("libb.so.1.0")
    assert check("BF115") == []
