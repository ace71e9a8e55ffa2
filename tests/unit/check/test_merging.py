"""One problem is one finding, which asks for all repairs of the findings that it replaces."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.wheel import NAME, build_wheel
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.check.requests import collect_requests
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.policy import AcceptedFinding, CheckPolicy
from bundle_fix.policy.severity import Severity


def check_directory(root: Path, *ignored: str) -> list[Finding]:
    ignore = tuple(AcceptedFinding(rule, "*", "known") for rule in ignored)
    bundle = read_bundle(read_directory(root), "pack")
    found = check_bundle(bundle, CheckPolicy(ignore=ignore)).findings
    return [finding for finding in found if finding.severity is not Severity.NOTE]


def build_program_without_runpath(root: Path) -> None:
    """Build a program whose libraries are in two directories."""
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "ext/libb.so.2.5", soname="libb.so.2")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1", "libb.so.2"])


def test_missing_symlinks_and_runpaths_are_reported_with_the_names(tmp_path: Path) -> None:
    build_program_without_runpath(tmp_path)
    found = {
        f.evidence["needed"]: (f.rule, f.evidence["causes"]) for f in check_directory(tmp_path)
    }
    assert found == {
        "liba.so.1": ("BF102", ["BF201"]),
        "libb.so.2": ("BF102", ["BF103", "BF201"]),
    }


def test_an_accepted_finding_does_not_hide_its_cause(tmp_path: Path) -> None:
    build_program_without_runpath(tmp_path)
    assert sorted(f.rule for f in check_directory(tmp_path, "BF102")) == ["BF103", "BF201"]


def test_a_merged_finding_asks_for_the_names_of_the_missing_runpath(tmp_path: Path) -> None:
    """Liba is loaded before, so only libb is not found; without a RUNPATH neither may be."""
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/libc1.so.1", soname="libc1.so.1", needed=["liba.so.1", "libb.so.1"])
    needed = ["liba.so.1", "libc1.so.1"]
    build_elf(tmp_path / "bin/x", program=True, needed=needed, runpath="$ORIGIN/../lib")
    (finding,) = check_directory(tmp_path)
    assert (finding.rule, finding.path) == ("BF102", "lib/libc1.so.1")
    requests = collect_requests([finding])
    assert {(r.kind, r.path, r.subject) for r in requests} == {
        (RepairKind.FIND_NAME, "lib/libc1.so.1", "libb.so.1"),
        (RepairKind.FIND_NAME, "lib/libc1.so.1", "liba.so.1"),
    }


def test_identical_copies_in_a_wheel_have_one_finding_that_repairs_all(tmp_path: Path) -> None:
    build_elf(tmp_path / "x/demo/libx.so.4.6", soname="libx.so.4", needed=["libgone.so.1"],
              runpath="/build/lib")  # fmt: skip
    for name in ("libx.so", "libx.so.4"):
        shutil.copy(tmp_path / "x/demo/libx.so.4.6", tmp_path / "x/demo" / name)
    with open_artifact(build_wheel(tmp_path / "x", tmp_path / NAME)) as artifact:
        findings = check_bundle(read_bundle(artifact.tree, NAME), CheckPolicy()).findings
    worse = [f for f in findings if f.severity is not Severity.NOTE]
    others = ["demo/libx.so.4", "demo/libx.so.4.6"]
    assert [(f.rule, f.path) for f in worse] == [
        ("BF101", "demo/libx.so"), ("BF202", "demo/libx.so"),
    ]  # fmt: skip
    assert [worse[0].evidence["objects"], worse[1].evidence["copies"]] == [others, others]
    removed = {r.path for r in collect_requests(worse) if r.kind is RepairKind.REMOVE_ENTRY}
    assert removed == {"demo/libx.so", "demo/libx.so.4", "demo/libx.so.4.6"}
    assert worse[1].message.endswith(
        "(like its identical copies: demo/libx.so.4, demo/libx.so.4.6)"
    )


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("demo/plugins/sqldrivers/libmysql.so", "warning"),
        ("demo/capi/libdemo_providers_gpu.so", "warning"),
        ("demo/lib/demo_transport_ib.so.3", "warning"),
        ("demo/libdemo.so", "error"),
        ("demo/plugins/_x.cpython-311-x86_64-linux-gnu.so", "error"),
        ("demo_plugins/libdemo.so", "error"),
    ],
)
def test_an_optional_plugin_of_a_wheel_is_a_warning(
    tmp_path: Path, path: str, severity: str
) -> None:
    build_elf(tmp_path / "x" / path, needed=["libgone.so.1"])
    with open_artifact(build_wheel(tmp_path / "x", tmp_path / NAME)) as artifact:
        findings = check_bundle(read_bundle(artifact.tree, NAME), CheckPolicy()).findings
    assert [f.severity for f in findings if f.rule == "BF101"] == [severity]


def test_several_names_of_one_missing_runpath_have_one_finding_that_repairs_all(
    tmp_path: Path,
) -> None:
    names = ["liba.so.1", "libb.so.1"]
    for name in names:
        build_elf(tmp_path / "lib" / name, soname=name)
    build_elf(tmp_path / "bin/x", program=True, needed=names)
    (finding,) = check_directory(tmp_path)
    assert finding.message == (
        "needs liba.so.1; the pack has lib/liba.so.1, but the host's /lib64/liba.so.1 is loaded"
        " (like libb.so.1)"
    )
    assert {(r.kind, r.subject) for r in collect_requests([finding])} == {
        (RepairKind.FIND_NAME, name) for name in names
    }


def test_one_missing_library_has_one_finding_that_lists_the_objects(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        needed = ["libgone.so.1", "libother.so.1"] if name == "z" else ["libgone.so.1"]
        build_elf(tmp_path / "bin" / name, program=True, needed=needed)
    found = [(f.path, f.message, f.evidence.get("objects")) for f in check_directory(tmp_path)]
    rest = "which is neither in the pack nor expected on the host"
    assert found == [
        ("bin/x", f"needs libgone.so.1, {rest} (like bin/y, bin/z)", ["bin/y", "bin/z"]),
        ("bin/z", f"needs libother.so.1, {rest}", None),
    ]


@pytest.mark.parametrize("library", [None, "lib/libold.so.1.0"])
def test_a_dangling_symlink_is_reported_with_the_objects_that_need_its_name(
    tmp_path: Path, library: str | None
) -> None:
    """With a library of another soname beside it, the symlink can be repaired."""
    build_elf(tmp_path / "bin/x", program=True, needed=["libold.so.1"], runpath="$ORIGIN/../lib")
    if library:
        build_elf(tmp_path / library, soname="libnew.so.1")
    (tmp_path / "lib").mkdir(exist_ok=True)
    (tmp_path / "lib/libold.so.1").symlink_to("/build/libold.so.1.0" if library else "gone.so")
    found = check_directory(tmp_path)
    (finding,) = [f for f in found if f.rule in ("BF101", "BF104", "BF105")]
    assert finding.rule == ("BF105" if library else "BF104")
    assert (finding.path, finding.severity) == ("lib/libold.so.1", Severity.ERROR)
    assert finding.message.endswith("; needed by bin/x")


def test_a_dangling_symlink_to_a_library_with_its_name_is_repaired_with_the_need(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "lib/liba.so.1.5", soname="liba.so.1")
    (tmp_path / "lib/liba.so.1").symlink_to("liba.so.1.4")
    (finding,) = check_directory(tmp_path)
    assert (finding.rule, finding.evidence["causes"]) == ("BF102", ["BF103", "BF104"])


def test_a_text_file_in_place_of_a_symlink_is_reported_with_the_objects_that_need_it(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/liba.so.1.2", soname="liba.so.1")
    (tmp_path / "lib/liba.so.1").write_text("liba.so.1.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    (finding,) = check_directory(tmp_path)
    assert (finding.rule, finding.evidence["needed_by"]) == ("BF607", ["bin/x"])
    assert finding.severity is Severity.ERROR
