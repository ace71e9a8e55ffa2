"""Findings grouped by what is wrong at the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_incident_pack
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Root, RootKind, make_copies_root
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.pipelines.check import check_artifact
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause, group_findings
from bundle_fix.report.check_report import CheckReport, make_check_report
from bundle_fix.report.finding_record import FindingRecord


def make_record(
    rule: str, path: str, root: Root | None = None, severity: Severity = Severity.ERROR
) -> FindingRecord:
    text = RULES_BY_CODE[rule]
    return FindingRecord(
        rule, text.name, severity, path, "is wrong", text.fix, {},
        root=root or Root(RootKind.RULE, rule),
    )  # fmt: skip


def check_directory(root: Path) -> CheckReport:
    bundle = read_bundle(read_directory(root), "pack")
    return make_check_report("pack", check_bundle(bundle, CheckPolicy()))


def list_problems(report: CheckReport) -> list[Cause]:
    return [cause for cause in report.causes if cause.severity is not Severity.NOTE]


def test_the_missing_symlink_of_the_incident_is_one_cause(tmp_path: Path) -> None:
    report = check_directory(make_incident_pack(tmp_path))
    first = report.causes[0]
    assert (first.kind, first.root) == (RootKind.MISSING_SYMLINK, "bin/libtcmalloc.so.4")
    assert {report.findings[index].rule for index in first.findings} == {"BF102", "BF306"}


def test_all_objects_that_do_not_search_a_directory_are_one_cause(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    for name in ("one", "two", "three"):
        build_elf(tmp_path / "bin" / name, program=True, needed=["liba.so.1"])
    report = check_directory(tmp_path)
    (cause,) = list_problems(report)
    assert (cause.kind, cause.root) == (RootKind.DIRECTORY, "lib")


def test_a_missing_library_is_one_cause_with_all_that_need_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_elf(tmp_path / "bin" / name, program=True, needed=["libmissing.so.1"])
    report = check_directory(tmp_path)
    (cause,) = list_problems(report)
    assert (cause.kind, cause.root) == (RootKind.LIBRARY, "libmissing.so.1")
    (finding,) = (report.findings[index] for index in cause.findings)
    assert (finding.path, finding.evidence["objects"]) == ("bin/one", ["bin/two"])


def test_many_roots_of_one_kind_are_one_cause() -> None:
    findings = [
        make_record("BF101", "bin/x", Root(RootKind.LIBRARY, f"lib{n}.so")) for n in range(76)
    ]
    assert len(group_findings(findings[:3])) == 3
    (cause,) = group_findings(findings)
    assert cause.title == "76 libraries are missing"
    assert (cause.root, len(cause.more_roots)) == ("lib0.so", 75)
    assert cause.fix == RULES_BY_CODE["BF101"].fix


def test_each_finding_is_in_one_cause_and_the_worst_come_first() -> None:
    root = Root(RootKind.SYMLINK, "lib/liba.so.1")
    findings = [
        make_record("BF507", "bin/x", severity=Severity.NOTE),
        make_record("BF104", "lib/liba.so.1", root, Severity.WARNING),
        make_record("BF101", "bin/x", root),
        make_record("BF502", "bin/y", severity=Severity.WARNING),
    ]
    causes = group_findings(findings)
    assert sorted(i for cause in causes for i in cause.findings) == [0, 1, 2, 3]
    assert [cause.findings for cause in causes] == [(2, 1), (3,), (0,)]


@pytest.mark.parametrize("kind", RootKind)
def test_every_kind_of_root_has_a_title(kind: RootKind) -> None:
    (cause,) = group_findings([make_record("BF101", "bin/x", Root(kind, "ROOT"))])
    assert "ROOT" in cause.title or kind is RootKind.RULE


def test_copies_have_one_root_in_any_order_and_a_title_of_at_most_four() -> None:
    labels = [f"lib/lib{n}.so" for n in range(6)]
    root = make_copies_root(labels)
    assert root == make_copies_root(reversed(labels))
    (cause,) = group_findings([make_record("BF301", "bin/x", root)])
    expected = "several copies: lib/lib0.so, lib/lib1.so, lib/lib2.so, lib/lib3.so and 2 more"
    assert cause.title == expected


def test_a_single_program_lacks_the_symlink_of_a_library_with_another_name(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/libfoo.so", soname="libfoo.so.2")
    app = build_elf(
        tmp_path / "bin/app", program=True, needed=["libfoo.so.2"], runpath="$ORIGIN/../lib"
    )
    for path in (app, tmp_path):
        with open_on_target(path, Target()) as artifact:
            report = make_check_report("x", check_artifact(artifact, CheckPolicy(), {}))
        (cause,) = list_problems(report)
        assert (cause.kind, cause.root) == (RootKind.MISSING_SYMLINK, "lib/libfoo.so.2")
