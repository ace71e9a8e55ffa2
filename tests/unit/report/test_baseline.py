"""Baselines: which earlier finding a finding is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.report.baseline import drop_known_findings, read_baseline
from bundle_fix.report.check_report import CheckReport, FindingRecord, Tool, make_error_report
from bundle_fix.report.render.json import render_json, render_jsonl


def finding(path: str = "bin/x", subject: str = "libz.so.1", rule: str = "BF102") -> FindingRecord:
    return FindingRecord(rule, "name", "error", path, "message", "hint", {}, subject)


def report(artifact: str, *findings: FindingRecord) -> CheckReport:
    summary = {"error": len(findings), "warning": 0, "note": 0}
    return CheckReport(1, artifact, Tool(), summary, findings, failed=bool(findings))


def left(folder: Path, now: CheckReport, *before: CheckReport) -> list[str]:
    """The paths of what is new in ``now``; json and jsonl say the same."""
    results = []
    for text in (render_json(before), "".join(map(render_jsonl, before))):
        (folder / "old.json").write_text(text)
        baseline = read_baseline(folder / "old.json")
        settled = drop_known_findings(now, baseline.known_findings(now.artifact), "error")
        assert settled.summary["error"] == len(settled.findings)
        assert settled.failed == bool(settled.findings)
        assert settled.ignored == len(now.findings) - len(settled.findings)
        results.append([f.path for f in settled.findings])
    assert results[0] == results[1]
    return results[0]


def test_only_what_is_new_is_left(tmp_path: Path) -> None:
    now = report("p.tar", finding(), finding("bin/y"), finding(subject="other"))
    assert left(tmp_path, now, report("p.tar", finding())) == ["bin/y", "bin/x"]


def test_of_several_artifacts_each_has_its_own_findings(tmp_path: Path) -> None:
    before = [report("dist/a.tar.gz", finding("bin/a")), report("dist/b.tar.gz", finding("bin/b"))]
    now = report("new/b.tar.gz", finding("bin/a"), finding("bin/b"))
    assert left(tmp_path, now, *before) == ["bin/a"]


def test_an_artifact_is_known_under_another_version_or_suffix(tmp_path: Path) -> None:
    before = [report("server-2.5.0.tar.gz", finding("bin/a")), report("client-2.5.0.tar.gz")]
    for name in ("server-2.6.1.tar.gz", "server-2.5.0.tar.zst", "out/server-2.7/"):
        assert left(tmp_path, report(name, finding("bin/a")), *before) == []
    assert left(tmp_path, report("client-2.6.0.tar.xz", finding("bin/a")), *before) == ["bin/a"]


def test_an_artifact_that_is_in_no_report_is_compared_with_all(tmp_path: Path) -> None:
    before = [report("a.tar", finding("bin/a")), report("b.tar", finding("bin/b"))]
    now = report("c.tar", finding("bin/a"), finding("bin/b"), finding("bin/c"))
    assert left(tmp_path, now, *before) == ["bin/c"]


def test_a_folder_named_after_a_version_may_be_renamed_but_no_library(tmp_path: Path) -> None:
    before = report("p.tar", finding("pack-2.5/lib/libx.so.1"))
    now = report("p.tar", finding("pack-2.6/lib/libx.so.1"), finding("pack-2.6/lib/libx.so.2"))
    assert left(tmp_path, now, before) == ["pack-2.6/lib/libx.so.2"]


def test_an_artifact_that_could_not_be_checked_has_no_findings(tmp_path: Path) -> None:
    before = [make_error_report("p.tar", "broken"), report("q.tar")]
    assert left(tmp_path, report("p.tar", finding()), *before) == ["bin/x"]
    settled = drop_known_findings(make_error_report("p.tar", "broken"), frozenset(), "error")
    assert settled.failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{"schema": 2, "artifact": "x", "findings": []}',
            "a report of schema 2, and this version",
        ),
        ('[{"schema": 99}]', "a report of schema 99"),
        ('{"schema": 1, "old": "a", "new": "b", "findings": []}', "missing required field"),
        ('{"schema": 1}\n{"schema"', "it is no report of bundle-fix"),
        ("[" * 100_000, "it is no report of bundle-fix"),
        ('{"runs": []}', "it is no report of bundle-fix"),
        ("null", "it is no report of bundle-fix"),
        ("\ufeff{}", "it is no report of bundle-fix"),
    ],
)
def test_what_is_no_report_of_this_schema_is_told_in_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(BundleFixError) as caught:
        read_baseline(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "make one with 'bundle-fix check --format json -o FILE'" in str(caught.value)


def test_a_baseline_that_is_a_folder_or_missing_is_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(BundleFixError, match=words):
            read_baseline(path)
