from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.plan.planner import Plan, make_plan


def make_plan_for(directory: Path) -> Plan:
    return make_plan(read_bundle(read_directory(directory), str(directory)))


def build_two_versions(directory: Path, one: str, other: str) -> None:
    """Build two different libraries with the same soname in two directories."""
    build_elf(directory / one / "libx.so.1", soname="libx.so.1", tag="one")
    build_elf(directory / other / "libx.so.1", soname="libx.so.1", tag="two")


def test_a_directory_that_matches_the_build_path_wins_over_a_nearer_one(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib", "lib/v2")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath="/build/out/lib/v2")
    plan = make_plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib/v2"
    assert plan.remarks == {
        "bin/x": (
            "libx.so.1: using lib/v2/libx.so.1, which matches the entry /build/out/lib/v2,"
            " not lib/libx.so.1",
        )
    }


def test_the_first_entry_that_matches_a_directory_is_used(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib/one", "lib/two")
    path = "/usr/local/elsewhere:/build/two:/build/one"
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath=path)
    assert make_plan_for(tmp_path).edits["bin/x"].runpath == "$ORIGIN/../lib/two"


def test_the_nearest_of_different_files_is_chosen_and_reported(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib", "lib/compat/old")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = make_plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib"
    assert plan.remarks["bin/x"] == (
        "libx.so.1: using lib/libx.so.1, the nearest file, not lib/compat/old/libx.so.1",
    )


def test_different_files_at_the_same_distance_are_not_guessed(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib/a", "lib/b")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = make_plan_for(tmp_path)
    assert not plan.edits
    assert plan.remarks["bin/x"] == (
        "libx.so.1: not changed, because the choice is ambiguous:"
        " lib/a/libx.so.1, lib/b/libx.so.1 differ",
    )


def test_a_file_that_is_found_already_is_kept_without_a_remark(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib/a", "lib/b")
    build_elf(
        tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath="/opt/x:$ORIGIN/../lib/b"
    )
    plan = make_plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib/b"
    assert not plan.remarks


def test_a_hwcaps_variant_is_ignored(tmp_path: Path) -> None:
    build_two_versions(tmp_path, "lib", "lib/glibc-hwcaps/x86-64-v3")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = make_plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib"
    assert not plan.remarks
