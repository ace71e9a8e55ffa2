"""``bundle-fix diff`` as a user runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.report.schemas import build_diff_schema

R = "$ORIGIN/../lib"


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Path, Path]:
    """An old pack, and a new one without the allocator's soname symlink and with other changes."""
    old, new = make_healthy_pack(tmp_path / "old"), make_healthy_pack(tmp_path / "new")
    (new / "lib/libtcmalloc.so.4").unlink()
    (new / "lib/libtcmalloc.so.4.6").rename(new / "lib/libtcmalloc.so")
    build_elf(old / "bin/shell", program=True)
    (new / "VERSION").write_text("2.6\n")
    one = make_tarball(old, tmp_path / "server-2.5.tar.gz", "server-2.5")
    return one, make_tarball(new, tmp_path / "server-2.6.tar.xz", "server-2.6")


def test_the_text_begins_with_the_verdict_and_the_name_that_now_resolves_on_the_host(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    ran = run_bundle_fix("diff", packs[0].name, packs[1].name, cwd=tmp_path)
    lines = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (1, "")
    assert lines[0].startswith("server-2.5.tar.gz -> server-2.6.tar.xz: WORSE: 1 error, ")
    assert lines[2].startswith("error BF701 now-from-host: the host's libtcmalloc.so.4 is loaded")
    assert "bin/server needs libtcmalloc.so.4, previously the pack's" in ran.stdout
    assert "members: 1 added, 2 removed, 1 changed, 3 unchanged" in lines
    assert "- lib/libtcmalloc.so.4 (symlink to libtcmalloc.so.4.6)" in lines
    assert "+ VERSION (4 B)" in lines
    assert all(len(line) <= 80 for line in lines)


def test_equal_packs_are_reported_in_one_line(packs: tuple[Path, Path], tmp_path: Path) -> None:
    ran = run_bundle_fix("diff", packs[0], tmp_path / "old")
    assert ran.returncode == 0
    assert "not worse: no differences (" in ran.stdout
    assert ran.stdout.count("\n") == 1
    out = tmp_path / "out.txt"
    assert run_bundle_fix("diff", "-q", packs[0], tmp_path / "old").stdout == ""
    assert run_bundle_fix("diff", "-q", packs[0], tmp_path / "old", "-o", out).stdout == ""
    assert "no differences" in out.read_text()


def test_json_and_jsonl_match_the_shipped_schema(packs: tuple[Path, Path]) -> None:
    schema = build_diff_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    report = json.loads(run_bundle_fix("diff", *packs, "--format", "json").stdout)
    jsonschema.validate(report, schema)
    (line,) = run_bundle_fix("diff", *packs, "--format", "jsonl").stdout.splitlines()
    jsonschema.validate(json.loads(line), schema)
    assert report["resolutions"] == [
        {
            "needed": "libtcmalloc.so.4", "old_needed": "libtcmalloc.so.4",
            "needed_by": "bin/server", "programs": ["bin/server"],
            "old": {"origin": "bundle", "path": "lib/libtcmalloc.so.4.6", "via": "runpath"},
            "new": {"origin": "host", "path": "/lib64/libtcmalloc.so.4", "via": "default"},
            "worse": True,
        }
    ]  # fmt: skip
    assert report["summary"]["error"] == 1
    assert [m["path"] for m in report["members"]["added"]] == ["VERSION"]
    assert report["members"]["changed"][0]["changes"] == [
        {"attribute": "path", "old": "lib/libtcmalloc.so.4.6", "new": "lib/libtcmalloc.so"}
    ]
    del report["members"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)


def test_every_other_format_reports_the_regressions(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    runs = {
        kind: run_bundle_fix(
            "diff", *packs, "--format", kind, GITHUB_STEP_SUMMARY=f"{tmp_path}/s.md"
        )
        for kind in ("sarif", "junit", "github", "gitlab")
    }
    assert {ran.returncode for ran in runs.values()} == {1}
    (sarif,) = json.loads(runs["sarif"].stdout)["runs"]
    assert sarif["results"][0]["ruleId"] == "BF701"
    failed = ET.fromstring(runs["junit"].stdout).iter("failure")  # noqa: S314 (our own)
    assert len(list(failed)) == 1
    assert runs["github"].stdout.startswith("::error file=")
    assert json.loads(runs["gitlab"].stdout)[0]["check_name"] == "BF701 now-from-host"
    summary = (tmp_path / "s.md").read_text()
    assert "BF701" in summary
    assert "host: /lib64/libtcmalloc.so.4" in summary


def test_findings_can_be_ignored_and_the_failing_severity_be_chosen(
    packs: tuple[Path, Path],
) -> None:
    assert run_bundle_fix("diff", *packs, "--exit-zero").returncode == 0
    accepted = [
        "--ignore", "now-from-host:bin/*=the hosts have it", "--ignore", "bf103=renamed on purpose",
    ]  # fmt: skip
    ran = run_bundle_fix("diff", *packs, *accepted)
    assert ran.returncode == 0
    assert re.search(r"not worse: \d warnings?, 1 ignored", ran.stdout), ran.stdout
    assert run_bundle_fix("diff", *packs, *accepted, "--fail-on", "warning").returncode == 1


def test_libraries_are_looked_up_in_the_given_host(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    build_elf(root / "lib64/libtcmalloc.so.4", soname="libtcmalloc.so.4", tag="the host's")
    ran = run_bundle_fix("diff", *packs, "--host", root, "--format", "json")
    ends = [r["new"] for r in json.loads(ran.stdout)["resolutions"]]
    assert {"origin": "host", "path": "/lib64/libtcmalloc.so.4", "via": "default"} in ends
    (root / "lib64/libtcmalloc.so.4").unlink()
    ran = run_bundle_fix("diff", *packs, "--host", root, "--format", "json")
    assert "BF702" in {f["rule"] for f in json.loads(ran.stdout)["findings"]}


def test_a_damaged_or_missing_artifact_is_an_error_of_one_line(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(packs[0].read_bytes()[:500])
    for arguments in ((packs[0], cut), (cut, packs[0]), (packs[0], tmp_path / "none")):
        ran = run_bundle_fix("diff", *arguments)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.count("\n") == 1


def test_the_report_is_written_to_a_file_or_not_at_all(
    packs: tuple[Path, Path], tmp_path: Path
) -> None:
    ran = run_bundle_fix("diff", *packs, "--format", "json", "-o", tmp_path / "out.json")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert json.loads((tmp_path / "out.json").read_text())["failed"] is True
    ran = run_bundle_fix("diff", *packs, "-o", tmp_path / "none/out.txt")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1


def test_control_characters_in_names_are_escaped_in_every_format(tmp_path: Path) -> None:
    for name, text in (("old", "one"), ("new", "two")):
        (tmp_path / name / "a\x1b[31m").mkdir(parents=True)
        (tmp_path / name / "a\x1b[31m" / "b\n::error::c").write_text(text)
    for kind in ("text", "json", "github", "sarif", "junit", "gitlab"):
        ran = run_bundle_fix("diff", tmp_path / "old", tmp_path / "new", "--format", kind)
        assert ran.returncode == 0
        assert "\x1b" not in ran.stdout
