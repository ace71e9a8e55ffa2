"""Options that decide the exit code, lists of artifacts, and files for reports."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.cli.artifact_list import _read_path_list
from bundle_fix.model.errors import BundleFixError

SPEC = """
[bundle]
name = "x"

[[check.ignore]]
rule = "{rule}"
path = "{path}"
reason = "an old start script"
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack with one error: BF203 at bin/x."""
    build_elf(tmp_path / "p/lib/libx.so.1", soname="libx.so.1")
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1"], runpath=".:$ORIGIN/../lib")
    return tmp_path / "p"


def check_for_rules(*arguments: str | Path) -> set[str]:
    found = json.loads(run_bundle_fix("check", *arguments, "--format", "json").stdout)
    return {f["rule"] for f in found["findings"]}


@pytest.mark.parametrize(
    "ignore", ["BF203=why", "BF203:bin/x=why", "bf203:*=why", "relative-runpath:b[i]n/?=a = b"]
)
def test_a_finding_is_ignored_by_code_or_name_and_glob(pack: Path, ignore: str) -> None:
    assert "BF203" in check_for_rules(pack)
    assert check_for_rules(pack, "--ignore", ignore) == set()
    assert run_bundle_fix("check", pack, "--ignore", ignore).returncode == 0


@pytest.mark.parametrize("ignore", ["BF203:lib/*=why", "BF203:BIN/x=why", "BF201=why"])
def test_an_ignore_that_matches_nothing_is_a_finding(pack: Path, ignore: str) -> None:
    assert check_for_rules(pack, "--ignore", ignore) == {"BF203", "BF001"}
    assert run_bundle_fix("check", pack, "--ignore", "BF203=x", "--ignore", ignore).returncode == 0
    ran = run_bundle_fix(
        "check", pack, "--ignore", "BF203=x", "--ignore", ignore, "--fail-on", "warning"
    )
    assert ran.returncode == 1


def test_an_ignore_of_a_rule_of_diff_is_accepted_by_check(pack: Path) -> None:
    assert check_for_rules(pack, "--ignore", "BF704:lib/*=internal", "--ignore", "BF203=x") == set()


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        ("BF203", "missing reason"),
        ("BF203=", "missing reason"),
        ("BF203= ", "missing reason"),
        ("=why", "missing rule"),
        (":bin/x=why", "missing rule"),
        ("BF203:=why", "missing path after the colon"),
        ("BF2O3=why", "unknown rule BF2O3 (did you mean `BF203`?)"),
        ("host-win=why", "unknown rule host-win (did you mean `host-wins`?)"),
        ("zzzzzz=why", "unknown rule zzzzzz ('bundle-fix rules' lists all rules)"),
        ("a\nb\x1b=why", "unknown rule a\\nb\\x1b"),
    ],
)
def test_an_invalid_ignore_is_an_error_of_one_line_and_exit_code_2(
    pack: Path, ignore: str, message: str
) -> None:
    ran = run_bundle_fix("check", pack, "--ignore", ignore)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert message in ran.stderr


def test_ignores_of_a_spec_work_in_the_same_way(pack: Path, tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text(SPEC.format(rule="BF203", path="bin/*"))
    assert check_for_rules(pack, "--spec", spec) == set()
    spec.write_text(SPEC.format(rule="BF203", path="sbin/*"))
    assert check_for_rules(pack, "--spec", spec) == {"BF203", "BF001"}
    spec.write_text(SPEC.format(rule="BF299", path="bin/*"))
    ran = run_bundle_fix("check", pack, "--spec", spec)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert f"{spec}:6:8: unknown rule BF299 (did you mean `BF" in ran.stderr


def test_exit_zero_accepts_findings_but_not_unreadable_artifacts(
    pack: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(make_tarball(pack, tmp_path / "whole.tar.gz").read_bytes()[:200])
    assert run_bundle_fix("check", pack, "--exit-zero").returncode == 0
    assert run_bundle_fix("check", pack, cut, "--exit-zero").returncode == 2
    sarif = run_bundle_fix("check", pack, "--exit-zero", "--format", "sarif").stdout
    assert json.loads(sarif)["runs"][0]["invocations"][0]["exitCode"] == 0


def check_list(data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "bundle_fix", "check", "-", "--format", "jsonl", *arguments],
        input=data, capture_output=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("end", [b"\0", b"\n", b"\r\n"])
def test_names_on_stdin_end_with_nul_or_newline(tmp_path: Path, end: bytes) -> None:
    names = [tmp_path / "a b", tmp_path / "c\u00e9"]
    for name in names:
        make_healthy_pack(name)
    ran = check_list(end.join(os.fsencode(name) for name in names) + end)
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line)["artifact"] for line in ran.stdout.splitlines()] == [
        str(name) for name in names
    ]


def test_a_name_with_a_newline_can_end_with_nul(tmp_path: Path) -> None:
    odd = make_healthy_pack(tmp_path / "a\nb")
    ran = check_list(os.fsencode(odd) + b"\0" + os.fsencode(make_healthy_pack(tmp_path / "c")))
    assert ran.returncode == 0
    assert json.loads(ran.stdout.splitlines()[0])["artifact"] == str(odd)


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    for data in (b"", b"\n\n", b"\0"):
        ran = check_list(data)
        assert (ran.returncode, ran.stdout, ran.stderr.count(b"\n")) == (2, b"", 1)
        assert b"stdin: the list of artifacts is empty" in ran.stderr


@pytest.mark.parametrize("kind", ["tar", "v7.tar", "tar.gz", "tar.zst", "zip", "elf"])
def test_an_artifact_instead_of_a_list_is_recognized(tmp_path: Path, kind: str) -> None:
    make_healthy_pack(tmp_path / "p")
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        subprocess.run(["zip", "-qr", path, "p"], cwd=tmp_path, check=True)
    elif kind == "elf":
        path = build_elf(tmp_path / "x", program=True)
    else:
        form = "--format=v7" if kind == "v7.tar" else "--format=gnu"
        subprocess.run(["tar", form, "-caf", path, "-C", tmp_path, "p"], check=True)
    ran = check_list(path.read_bytes())
    assert (ran.returncode, ran.stdout, ran.stderr.count(b"\n")) == (2, b"", 1)
    assert b"stdin: this is an artifact, but '-' reads a list of paths (write it to" in ran.stderr


@pytest.mark.parametrize("name", ["070701.tar", "BZhang", "PKG.tar"])
def test_a_name_that_starts_like_an_archive_is_a_name(tmp_path: Path, name: str) -> None:
    ran = check_list(name.encode() + b"\n")
    assert f"{name}: no such file or directory".encode() in ran.stdout


def test_an_endless_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleFixError, match=r"larger than 64M \(split it"):
        _read_path_list(io.BytesIO(b"a/long/name\n" * (6 << 20)))


def test_a_report_to_a_dash_goes_to_stdout(tmp_path: Path) -> None:
    pack = make_healthy_pack(tmp_path / "p")
    ran = run_bundle_fix("check", pack, "--format", "json", "-o", "-", cwd=tmp_path)
    assert json.loads(ran.stdout)["schema"] == 1
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    "arguments",
    [["fix", "p", "-o", "-"], ["pack", "p.toml", "-o", "-"], ["elf", "p/bin/x", "-o", "-"]],
)
def test_an_artifact_is_not_written_to_stdout(tmp_path: Path, arguments: list[str]) -> None:
    ran = run_bundle_fix(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "cannot write the output to stdout: it is checked before it gets its name" in ran.stderr
    assert not (tmp_path / "-").exists()


def test_a_text_report_has_the_error_and_stderr_has_it_once(
    tmp_path: Path,
) -> None:
    cut, out, also = tmp_path / "cut.tar", tmp_path / "out.txt", tmp_path / "also.txt"
    cut.write_bytes(b"no tarball")
    ran = run_bundle_fix("check", cut, "-o", out)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert out.read_text().startswith(f"{cut}: could not be checked: ")
    ran = run_bundle_fix("check", cut, "--also", f"text={also}")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert also.read_text() == out.read_text()


def test_each_of_several_artifacts_has_a_report_and_the_text_has_a_total(tmp_path: Path) -> None:
    good, bad = make_healthy_pack(tmp_path / "good"), make_incident_pack(tmp_path / "bad")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(make_tarball(good, tmp_path / "good.tar").read_bytes()[:700])
    arguments = [good, cut, bad, tmp_path / "none"]
    texts = {}
    for kind in ("text", "json", "jsonl", "sarif", "junit", "github", "gitlab"):
        ran = run_bundle_fix("check", *arguments, "--format", kind)
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 2), kind
        texts[kind] = ran.stdout
    total = "4 artifacts: 1 passed, 1 failed, 2 could not be checked"
    assert texts["text"].splitlines()[-1] == texts["github"].splitlines()[-1] == total
    assert len(json.loads(texts["json"])) == len(texts["jsonl"].splitlines()) == 4
    assert len(json.loads(texts["sarif"])["runs"][0]["artifacts"]) == 4
    assert texts["junit"].count("<testsuite ") == 4


def test_a_report_file_is_complete_or_not_changed(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("before")
    assert (
        run_bundle_fix("check", tmp_path / "none.tar", "--ignore", "x=y", "-o", out).returncode == 2
    )
    assert out.read_text() == "before"
    for kind in ("text", "json", "jsonl", "sarif", "junit", "github", "gitlab"):
        ran = run_bundle_fix("check", pack, "--format", kind, "-o", out)
        assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")
        assert out.read_text().endswith("\n")
        assert "\x1b" not in out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["p", "out.json"]
    ran = run_bundle_fix("check", pack, "-o", tmp_path / "missing/out")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert run_bundle_fix("check", pack, "-o", pack).returncode == 2


def test_the_github_summary_is_appended_up_to_the_size_limit(pack: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")

    def run_check(*options: str) -> subprocess.CompletedProcess[str]:
        return run_bundle_fix("check", pack, *options, GITHUB_STEP_SUMMARY=str(summary))

    assert run_check("--format", "github").returncode == 1
    assert summary.read_text().startswith("before\n### bundle-fix: ")
    run_check()
    assert summary.read_text().count("### bundle-fix") == 1
    summary.write_text("x" * (1 << 20))
    run_check("--format", "github")
    assert summary.stat().st_size == 1 << 20
    ran = run_bundle_fix("check", pack, "--format", "github", GITHUB_STEP_SUMMARY=str(tmp_path))
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("kind", ["text", "json", "sarif"])
def test_names_are_printed_also_if_the_encoding_is_ascii(pack: Path, kind: str) -> None:
    (pack / "bin/x").rename(pack / "bin/\u00e9\udcff")
    ran = subprocess.run(
        [sys.executable, "-m", "bundle_fix", "check", pack, "--format", kind],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (1, b"")
    if kind != "text":
        json.loads(ran.stdout)
