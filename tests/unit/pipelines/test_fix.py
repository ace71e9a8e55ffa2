from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.model.tree import Tree
from bundle_fix.pipelines import fix
from bundle_fix.pipelines.fix import Options, fix_artifact, plan_repair
from bundle_fix.plan.planner import Plan
from bundle_fix.plan.relocate import RelocatedBundle
from bundle_fix.policy.policy import AcceptedFinding, CheckPolicy


def plan_for(directory: Path, options: Options | None = None, *, symlinks: bool = True) -> Plan:
    """Return the repair plan of a directory, in a format that keeps symlinks or not."""
    tree: Tree = replace(read_directory(directory), keeps_symlinks=symlinks)
    bundle = read_bundle(tree, str(directory))
    return plan_repair(RelocatedBundle(bundle, {}, {}), options or Options()).plan


def list_runpaths(plan: Plan) -> dict[str, str | None]:
    return {path: changes.runpath for path, changes in plan.edits.items()}


def test_a_pack_without_findings_gets_an_empty_plan(tmp_path: Path) -> None:
    assert plan_for(make_healthy_pack(tmp_path)).is_empty


def test_every_change_names_the_rules_that_ask_for_it(tmp_path: Path) -> None:
    plan = plan_for(make_incident_pack(tmp_path))
    assert plan.reasons["bin/libtcmalloc.so.4"] == ("BF102",)
    assert set(plan.reasons["bin/server"]) == {"BF102", "BF203"}
    assert plan.reasons.keys() == plan.symlinks.keys() | plan.edits.keys()


def test_a_stale_symlink_is_retargeted_to_the_version_in_its_name(tmp_path: Path) -> None:
    for version in ("1", "2"):
        build_elf(tmp_path / f"lib/libx.so.{version}.0", soname=f"libx.so.{version}")
    (tmp_path / "lib/libx.so.2").symlink_to("libx.so.1.0")
    assert plan_for(tmp_path).symlinks["lib/libx.so.2"] == "libx.so.2.0"
    copies = plan_for(tmp_path, symlinks=False).copied
    assert copies["lib/libx.so.2"] == "lib/libx.so.2.0"


def test_identical_copies_of_a_library_stay(tmp_path: Path) -> None:
    for name in ("libx.so", "libx.so.4", "libx.so.4.6"):
        build_elf(tmp_path / "lib" / name, soname="libx.so.4")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib")
    assert plan_for(tmp_path).is_empty


def test_only_the_entry_of_the_finding_is_removed_from_a_search_path(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4")
    build_elf(
        tmp_path / "bin/x", program=True, needed=["libx.so.4"],
        runpath="$ORIGIN/../plugins:/build/lib:$ORIGIN/../lib:$ORIGIN/../lib",
    )  # fmt: skip
    plan = plan_for(tmp_path)
    assert list_runpaths(plan) == {"bin/x": "$ORIGIN/../plugins:$ORIGIN/../lib"}


def test_an_accepted_finding_asks_for_nothing(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4")
    build_elf(
        tmp_path / "bin/x", program=True, needed=["libx.so.4"],
        runpath="$ORIGIN/../lib:/opt/site/lib",
    )  # fmt: skip
    accepted = CheckPolicy(ignore=(AcceptedFinding("BF202", "bin/*", "site libraries"),))
    assert plan_for(tmp_path).edits
    assert plan_for(tmp_path, Options(accepted)).is_empty


def test_a_library_that_is_only_found_after_a_repair_is_repaired_as_well(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so", soname="libb.so.2", needed=["libc2.so.1"])
    build_elf(tmp_path / "lib/sub/libc2.so.1", soname="libc2.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["libb.so.2"], runpath="$ORIGIN/../lib")
    plan = plan_for(tmp_path)
    assert plan.symlinks == {"lib/libb.so.2": "libb.so"}
    assert list_runpaths(plan) == {"lib/libb.so": "$ORIGIN/sub"}


def test_a_library_is_renamed_where_symlinks_get_lost(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.2.1", soname="libb.so.2", tag="b")
    build_elf(tmp_path / "bin/x", program=True, needed=["libb.so.2"], runpath="$ORIGIN/../lib")
    plan = plan_for(tmp_path, symlinks=False)
    assert (plan.renamed, plan.copied) == ({"lib/libb.so.2.1": "lib/libb.so.2"}, {})


def test_a_library_is_copied_if_its_name_is_mentioned_where_symlinks_get_lost(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/libb.so", soname="libb.so.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["libb.so.2"], runpath="$ORIGIN/../lib")
    (tmp_path / "run.py").write_text("open('lib/libb.so')\n")
    plan = plan_for(tmp_path, symlinks=False)
    assert (plan.renamed, plan.copied) == ({}, {"lib/libb.so.2": "lib/libb.so"})


def test_a_zip_archive_survives_a_tool_that_loses_symlinks(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libb.so", soname="libb.so.2")
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libb.so.2"], runpath="$ORIGIN/../lib")
    subprocess.run(["zip", "-qr", "p.zip", "p"], cwd=tmp_path, check=True)
    assert fix_artifact(tmp_path / "p.zip", tmp_path / "q.zip", Options()).written
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        archive.extractall(tmp_path / "u")
    program = tmp_path / "u/p/bin/x"
    program.chmod(0o755)
    subprocess.run([program], check=True, capture_output=True)


def test_a_tarball_that_is_written_as_zip_gets_no_symlinks(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "p.tar.gz")
    assert fix_artifact(pack, tmp_path / "q.zip", Options()).written
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        assert all(info.external_attr >> 28 != 0xA for info in archive.infolist())


def test_nothing_is_written_if_the_plan_cannot_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libgone.so.1"], runpath="/build")
    pack = make_tarball(tmp_path / "p", tmp_path / "p.tar.gz")
    monkeypatch.setattr(fix, "stage_repair", pytest.fail)
    result = fix_artifact(pack, tmp_path / "q.tar.gz", Options())
    assert (result.written, result.failed) == (None, True)
    assert [finding.rule for finding in result.verdict.findings] == ["BF101"]


def test_a_needless_executable_stack_is_cleared_in_the_same_edit(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4", flags=["-Wl,-z,execstack"])
    build_elf(
        tmp_path / "bin/x", program=True, needed=["libx.so.4"], runpath="/build:$ORIGIN/../lib",
        flags=["-Wl,-z,execstack"],
    )  # fmt: skip
    plan = plan_for(tmp_path)
    assert {path: changes.executable_stack for path, changes in plan.edits.items()} == {
        "bin/x": False, "lib/libx.so.4": False,
    }  # fmt: skip
    assert plan.edits["bin/x"].runpath == "$ORIGIN/../lib"
    assert set(plan.reasons["bin/x"]) == {"BF502", "BF202"}
    archive = make_tarball(tmp_path, tmp_path.parent / "x.tar.gz")
    result = fix_artifact(archive, tmp_path.parent / "fixed.tar.gz", Options())
    assert result.written
    assert not [finding for finding in result.verdict.findings if finding.rule == "BF502"]
