"""Baselines: which findings count as known."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.severity import Severity
from bundle_fix.report.baseline import drop_known_findings, read_baseline
from bundle_fix.report.check_report import CheckReport, Tool, make_error_report
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.render.json import render_json, render_jsonl


def make_finding(
    path: str = "bin/x", subject: str = "libz.so.1", rule: str = "BF102"
) -> FindingRecord:
    return FindingRecord(rule, "name", Severity.ERROR, path, "message", "hint", {}, subject)


def make_report(artifact: str, *findings: FindingRecord) -> CheckReport:
    summary = {"error": len(findings), "warning": 0, "note": 0}
    return CheckReport(1, artifact, Tool(), summary, findings, failed=bool(findings))


def list_new_paths(directory: Path, now: CheckReport, *before: CheckReport) -> list[str]:
    """Return the paths of the new findings in ``now``; json and jsonl give the same result."""
    results = []
    for text in (render_json(before), "".join(map(render_jsonl, before))):
        (directory / "old.json").write_text(text)
        baseline = read_baseline(directory / "old.json")
        remaining = drop_known_findings(
            now, baseline.find_known_findings(now.artifact), Severity.ERROR
        )
        assert remaining.summary["error"] == len(remaining.findings)
        assert remaining.failed == bool(remaining.findings)
        assert remaining.ignored == len(now.findings) - len(remaining.findings)
        results.append([f.path for f in remaining.findings])
    assert results[0] == results[1]
    return results[0]


def test_only_new_findings_remain(tmp_path: Path) -> None:
    now = make_report("p.tar", make_finding(), make_finding("bin/y"), make_finding(subject="other"))
    assert list_new_paths(tmp_path, now, make_report("p.tar", make_finding())) == ["bin/y", "bin/x"]


def test_each_of_several_artifacts_has_its_own_findings(tmp_path: Path) -> None:
    before = [
        make_report("dist/a.tar.gz", make_finding("bin/a")),
        make_report("dist/b.tar.gz", make_finding("bin/b")),
    ]
    now = make_report("new/b.tar.gz", make_finding("bin/a"), make_finding("bin/b"))
    assert list_new_paths(tmp_path, now, *before) == ["bin/a"]


def test_an_artifact_is_recognized_under_another_version_or_suffix(tmp_path: Path) -> None:
    before = [
        make_report("server-2.5.0.tar.gz", make_finding("bin/a")),
        make_report("client-2.5.0.tar.gz"),
    ]
    for name in ("server-2.6.1.tar.gz", "server-2.5.0.tar.zst", "out/server-2.7/"):
        assert list_new_paths(tmp_path, make_report(name, make_finding("bin/a")), *before) == []
    assert list_new_paths(
        tmp_path, make_report("client-2.6.0.tar.xz", make_finding("bin/a")), *before
    ) == ["bin/a"]


def test_an_artifact_without_a_report_is_compared_with_all_reports(tmp_path: Path) -> None:
    before = [
        make_report("a.tar", make_finding("bin/a")),
        make_report("b.tar", make_finding("bin/b")),
    ]
    now = make_report("c.tar", make_finding("bin/a"), make_finding("bin/b"), make_finding("bin/c"))
    assert list_new_paths(tmp_path, now, *before) == ["bin/c"]


def test_a_directory_may_change_its_version_number_but_a_library_may_not(tmp_path: Path) -> None:
    before = make_report("p.tar", make_finding("pack-2.5/lib/libx.so.1"))
    now = make_report(
        "p.tar", make_finding("pack-2.6/lib/libx.so.1"), make_finding("pack-2.6/lib/libx.so.2")
    )
    assert list_new_paths(tmp_path, now, before) == ["pack-2.6/lib/libx.so.2"]


def test_an_artifact_that_could_not_be_checked_has_no_findings(tmp_path: Path) -> None:
    before = [make_error_report("p.tar", "broken"), make_report("q.tar")]
    assert list_new_paths(tmp_path, make_report("p.tar", make_finding()), *before) == ["bin/x"]
    remaining = drop_known_findings(
        make_error_report("p.tar", "broken"), frozenset(), Severity.ERROR
    )
    assert remaining.failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"schema": 2, "artifact": "x", "findings": []}',
            "unknown report schema 2; this version",
        ),
        ('[{"schema": 99}]', "unknown report schema 99"),
        ('{"schema": 1, "old": "a", "new": "b", "findings": []}', "missing required field"),
        ('{"schema": 1}\n{"schema"', "not a report of bundle-fix check"),
        ("[" * 100_000, "not a report of bundle-fix check"),
        ('{"runs": []}', "not a report of bundle-fix check"),
        ("null", "not a report of bundle-fix check"),
        ("\ufeff{}", "not a report of bundle-fix check"),
    ],
)
def test_an_invalid_report_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(BundleFixError) as caught:
        read_baseline(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "make one with 'bundle-fix check --format json -o FILE'" in str(caught.value)


def test_a_missing_baseline_or_a_directory_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(BundleFixError, match=words):
            read_baseline(path)
