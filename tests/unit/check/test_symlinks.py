"""BF103 to BF105: missing symlinks, broken symlinks, and symlinks that leave the pack."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack

from .conftest import Check


def test_bf103_reports_a_library_that_is_not_found_by_its_soname(
    tmp_path: Path, check: Check
) -> None:
    make_incident_pack(tmp_path)
    (finding,) = check("BF103")
    assert (finding.severity, finding.path) == ("error", "bin/libtcmalloc.so")
    assert finding.evidence["symlink"] == "bin/libtcmalloc.so.4"


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
