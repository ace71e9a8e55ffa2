from __future__ import annotations

from pathlib import Path

from builders.elf import elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.plan.planner import Plan, make_plan


def plan_for(folder: Path) -> Plan:
    return make_plan(read_bundle(read_directory(folder), str(folder)))


def two_versions(folder: Path, one: str, other: str) -> None:
    """Two different files of one soname, in two folders."""
    elf(folder / one / "libx.so.1", soname="libx.so.1", tag="one")
    elf(folder / other / "libx.so.1", soname="libx.so.1", tag="two")


def test_the_folder_that_the_builds_path_named_wins_over_a_nearer_one(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib", "lib/v2")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath="/build/out/lib/v2")
    plan = plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib/v2"
    assert plan.remarks == {
        "bin/x": ("libx.so.1 is lib/v2/libx.so.1, as /build/out/lib/v2 says, not lib/libx.so.1",)
    }


def test_the_first_entry_that_fits_any_folder_counts(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib/one", "lib/two")
    path = "/usr/local/elsewhere:/build/two:/build/one"
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath=path)
    assert plan_for(tmp_path).edits["bin/x"].runpath == "$ORIGIN/../lib/two"


def test_the_nearest_of_different_files_is_chosen_and_named(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib", "lib/compat/old")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib"
    assert plan.remarks["bin/x"] == (
        "libx.so.1 is lib/libx.so.1, the nearest; the different lib/compat/old/libx.so.1 is not",
    )


def test_between_different_files_that_are_equally_near_nothing_is_guessed(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib/a", "lib/b")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = plan_for(tmp_path)
    assert not plan.edits
    assert plan.remarks["bin/x"] == (
        "libx.so.1 could be any of lib/a/libx.so.1, lib/b/libx.so.1, and nothing tells which:"
        " left alone",
    )


def test_what_is_found_today_is_no_choice(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib/a", "lib/b")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"], runpath="/opt/x:$ORIGIN/../lib/b")
    plan = plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib/b"
    assert not plan.remarks


def test_a_copy_for_better_processors_is_no_rival(tmp_path: Path) -> None:
    two_versions(tmp_path, "lib", "lib/glibc-hwcaps/x86-64-v3")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.1"])
    plan = plan_for(tmp_path)
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib"
    assert not plan.remarks
