"""BF207, and the other findings of privileged programs, in which the loader ignores $ORIGIN."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from builders.elf import Toolchain, build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.pipelines.fix import Options, plan_repair
from bundle_fix.plan.planner import make_plan
from bundle_fix.plan.relocate import RelocatedBundle
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.storage.privileges import ATTRIBUTE_RECORD

from .conftest import Check

NET_BIND = bytes.fromhex("0100000200040000000000000000000000000000")
LIB = "$ORIGIN/../lib"


def build_program(root: Path, *, rpath: str | None = None, runpath: str | None = None) -> None:
    """Build a pack with a program that has a search path and needs a library of the pack."""
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], rpath=rpath, runpath=runpath)


def read_with_capabilities(root: Path, path: str = "bin/x") -> Bundle:
    """Return the bundle of a directory in which a program has capabilities."""
    tree = read_directory(root)
    node = tree.nodes[path]
    extra = {**node.metadata.extra, ATTRIBUTE_RECORD: os.fsdecode(NET_BIND)}
    nodes = {**tree.nodes, path: replace(node, metadata=replace(node.metadata, extra=extra))}
    return read_bundle(replace(tree, nodes=nodes), str(root))


def check_with_capabilities(root: Path) -> dict[str, Finding]:
    """Return the errors and warnings of a pack whose program has capabilities, by rule."""
    found = check_bundle(read_with_capabilities(root), CheckPolicy()).findings
    return {f.rule: f for f in found if f.severity != "note"}


def test_bf207_reports_a_set_uid_program_that_needs_origin(tmp_path: Path, check: Check) -> None:
    build_program(tmp_path, runpath="$ORIGIN/../lib")
    (tmp_path / "bin/x").chmod(0o4755)
    (finding,) = check("BF207")
    assert finding.severity == "error"
    assert finding.message == (
        "is set-uid, so the loader does not follow its entry $ORIGIN/../lib to liba.so.1"
    )


def test_bf207_is_a_warning_if_no_library_of_the_pack_is_needed(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"], runpath="${ORIGIN}")
    (tmp_path / "bin/x").chmod(0o2755)
    (finding,) = check("BF207")
    assert finding.severity == "warning"
    assert finding.message.startswith("is set-gid, ")


def test_bf207_is_silent_about_set_uid_programs_without_origin(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"], runpath="/opt/pack/lib")
    (tmp_path / "bin/x").chmod(0o4755)
    assert check("BF207") == []


@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_bf207_reports_a_program_with_capabilities_that_needs_origin(
    tmp_path: Path, tag: str
) -> None:
    build_program(
        tmp_path,
        rpath=LIB if tag == "rpath" else None,
        runpath=LIB if tag == "runpath" else None,
    )
    found = check_with_capabilities(tmp_path)
    assert found.keys() == {"BF207"}
    assert found["BF207"].message == (
        "has file capabilities, so the loader does not follow its entry $ORIGIN/../lib to liba.so.1"
    )
    assert found["BF207"].evidence["privileges"] == ["file capabilities"]


def test_bf207_names_all_privileges(tmp_path: Path) -> None:
    build_program(tmp_path, runpath=LIB)
    (tmp_path / "bin/x").chmod(0o4755)
    message = check_with_capabilities(tmp_path)["BF207"].message
    assert message.startswith("is set-uid and has file capabilities, so")


def test_bf207_is_silent_if_only_the_library_has_an_entry_with_origin(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN"
    )
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="/opt/x/lib")
    found = check_with_capabilities(tmp_path)
    assert {(code, f.severity) for code, f in found.items()} == {("BF102", "warning")}


@pytest.mark.skipif(not Path("/lib/ld-musl-x86_64.so.1").exists(), reason="musl is not installed")
def test_bf207_reports_a_program_of_musl(tmp_path: Path) -> None:
    musl = Toolchain("musl-gcc")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", toolchain=musl)
    build_elf(
        tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=f"/opt/x:{LIB}",
        toolchain=musl,
    )  # fmt: skip
    assert (
        "its entry /opt/x:$ORIGIN/../lib to" in check_with_capabilities(tmp_path)["BF207"].message
    )


@pytest.mark.parametrize("runpath", [None, LIB, "/opt/other", f"$ORIGIN/../../x:{LIB}:/opt/x/lib"])
def test_fix_adds_no_origin_to_a_privileged_program(tmp_path: Path, runpath: str | None) -> None:
    build_program(tmp_path, runpath=runpath)
    bundle = read_with_capabilities(tmp_path)
    plan = plan_repair(RelocatedBundle(bundle, {}, {}), Options()).plan
    assert [c.runpath for c in plan.edits.values()] in ([], [f"{LIB}:/opt/x/lib"])
    assert make_plan(bundle).edits == {}
    pinned = Options(pinned=("liba.so.*",))
    assert plan_repair(RelocatedBundle(bundle, {}, {}), pinned).plan.edits.keys() <= {"bin/x"}


def test_the_hint_of_a_privileged_program_says_what_to_do(tmp_path: Path) -> None:
    build_program(tmp_path)
    found = check_with_capabilities(tmp_path)
    assert found.keys() == {"BF102", "BF201"}
    for finding in found.values():
        assert not finding.fixable
        assert "AmbientCapabilities" in finding.hint


def test_an_absolute_path_to_the_installed_pack_is_accepted(tmp_path: Path) -> None:
    build_program(tmp_path, runpath="/opt/x/lib")
    found = check_with_capabilities(tmp_path)
    assert {(code, f.severity) for code, f in found.items()} == {("BF102", "warning")}
    assert found["BF102"].message.endswith("is loaded unless the pack is installed at /opt/x")


def test_an_absolute_path_elsewhere_is_reported(tmp_path: Path) -> None:
    build_program(tmp_path, runpath="/opt/x/libraries")
    found = check_with_capabilities(tmp_path)
    assert {(code, f.severity) for code, f in found.items()} == {
        ("BF102", "error"), ("BF202", "warning"),
    }  # fmt: skip
    assert not any(f.fixable for f in found.values())


def test_a_library_of_a_privileged_program_is_repaired(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="/opt/x/lib")
    bundle = read_with_capabilities(tmp_path)
    plan = plan_repair(RelocatedBundle(bundle, {}, {}), Options()).plan
    assert {path: c.runpath for path, c in plan.edits.items()} == {"lib/liba.so.1": "$ORIGIN"}
