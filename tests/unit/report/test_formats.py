"""Every format: its schema where there is one, and odd names in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest

from bundle_fix.check.run import RULES
from bundle_fix.report.github import render_github, render_summary
from bundle_fix.report.gitlab import render_gitlab
from bundle_fix.report.json import render_json, render_jsonl
from bundle_fix.report.junit import render_junit
from bundle_fix.report.model import (
    CheckReport,
    FindingRecord,
    Tool,
    error_report,
    rule_texts,
)
from bundle_fix.report.sarif import render_sarif
from bundle_fix.report.schemas import check_schema
from bundle_fix.report.text import render_text

ODD = 'bin/a b\n::error::x%2C|`\x1b[31m\udcff"<é>,:\\'
TEXTS = rule_texts(RULES)
SARIF_SCHEMA = "@microsoft/jest-sarif@1.0.0-beta.0"
"""An npm package of SARIF's authors that has the official schema."""


def finding(rule: str, severity: str, path: str = "bin/x") -> FindingRecord:
    text = TEXTS[rule]
    trace = [{"place": "lib/libz.so", "via": "runpath", "entry": ODD, "verdict": "not there"}]
    evidence = {"needed": "libz.so", "loaded": "/lib64/libz.so", "trace": trace}
    message = f"needs libz.so, said {path}"
    return FindingRecord(rule, text.name, severity, path, message, text.mend, evidence, "libz.so")


def reports() -> list[CheckReport]:
    """One of each kind: with findings, without, and one that could not be checked."""
    findings = (
        finding("BF102", "error", ODD), finding("BF102", "error"), finding("BF201", "warning"),
        finding("BF110", "note", ""),
    )  # fmt: skip
    summary = {"error": 2, "warning": 1, "note": 1}
    bad = CheckReport(1, ODD, Tool(), summary, findings, failed=True, programs=1)
    good = CheckReport(1, "good.tar.gz", Tool(), dict.fromkeys(summary, 0), ())
    return [bad, good, error_report("cut.tar.gz", "cut.tar.gz: it is cut short")]


def test_json_and_jsonl_hold_to_their_schema() -> None:
    schema = check_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    several = json.loads(render_json(reports()))
    jsonschema.validate(several, schema)
    jsonschema.validate(json.loads(render_json(reports()[:1])), schema)
    lines = "".join(map(render_jsonl, reports())).splitlines()
    assert [json.loads(line) for line in lines] == several
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "artifact": "x"}, schema)


def test_a_report_is_read_back_as_it_was_written() -> None:
    for report in reports()[1:]:
        assert msgspec.json.decode(render_json([report]), type=CheckReport) == report


@pytest.fixture(scope="session")
def sarif_schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The official schema, from the npm registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which has the official SARIF schema, is not installed")
    folder = tmp_path_factory.mktemp("sarif")
    done = subprocess.run(
        [npm, "pack", "--silent", SARIF_SCHEMA], cwd=folder, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"the npm registry, which has the official SARIF schema: {done.stderr[-80:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        member = package.extractfile("package/lib/schemas/sarif-2.1.0-rtm.5.json")
        assert member is not None
        schema: dict[str, Any] = json.load(member)
    return schema


def test_sarif_holds_to_the_official_schema(sarif_schema: dict[str, Any]) -> None:
    document = json.loads(render_sarif(reports(), TEXTS))
    validator = jsonschema.validators.validator_for(sarif_schema)(sarif_schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    del document["runs"][0]["tool"]
    assert list(validator.iter_errors(document))


def test_sarif_has_every_result_with_its_rule_and_the_rules_help() -> None:
    (run,) = json.loads(render_sarif(reports(), TEXTS))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == [
        "BF102", "BF102", "BF201", "BF110",
    ]  # fmt: skip
    assert all(rule["help"]["markdown"] for rule in rules)
    assert run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    prints = [r["partialFingerprints"]["bundleFix/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)
    assert run["invocations"][0]["executionSuccessful"] is False


def test_junit_has_a_case_for_every_rule_and_fails_those_that_found_something() -> None:
    root = ET.fromstring(render_junit(reports(), TEXTS, "error"))  # noqa: S314 (our own)
    bad, good, cut = root
    assert {case.get("name", "")[:5] for case in bad.iter("testcase")} == set(TEXTS)
    assert [case.get("name") for case in bad if case.find("failure") is not None] == [
        "BF102 host-wins"
    ]
    assert (good.get("failures"), cut.get("errors")) == ("0", "1")
    assert (root.get("failures"), root.get("errors")) == ("1", "1")
    stricter = ET.fromstring(render_junit(reports(), TEXTS, "note"))  # noqa: S314 (our own)
    assert stricter.get("failures") == "3"


def test_gitlab_has_what_code_quality_wants_with_each_fingerprint_once() -> None:
    records = json.loads(render_gitlab(reports()))
    assert all(
        {"check_name", "description", "severity", "fingerprint", "location"} <= set(record)
        for record in records
    )
    assert [r["severity"] for r in records] == ["critical", "critical", "minor", "info", "blocker"]
    assert len({r["fingerprint"] for r in records}) == len(records)


def test_github_gets_one_command_a_line_whatever_the_names_hold() -> None:
    lines = render_github(reports()).splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "::error", "::error", "::warning", "::notice", "::error",
    ]  # fmt: skip
    first = lines[0].split("::")
    assert "%252C" in first[1]
    assert "\x1b" not in "".join(lines)
    properties = first[1].removeprefix("error ").split(",")
    assert [p.split("=")[0] for p in properties] == ["file", "title"]


def test_the_summary_of_github_is_a_table_and_a_graph() -> None:
    text = render_summary(reports(), TEXTS)
    rows = [line for line in text.splitlines() if line.startswith("| error")]
    assert len(rows) == 2
    assert all(line.count(" | ") == 3 for line in rows)
    assert "```mermaid\nflowchart LR\n" in text
    assert "-->|libz.so|" in text
    assert "Could not be checked: cut.tar.gz: it is cut short" in text


@pytest.mark.parametrize("kind", ["json", "jsonl", "sarif", "junit", "gitlab", "github", "text"])
def test_no_format_fails_over_an_odd_name(kind: str) -> None:
    texts = {
        "json": lambda: render_json(reports()),
        "jsonl": lambda: render_jsonl(reports()[0]),
        "sarif": lambda: render_sarif(reports(), TEXTS),
        "junit": lambda: render_junit(reports(), TEXTS, "error"),
        "gitlab": lambda: render_gitlab(reports()),
        "github": lambda: render_github(reports()),
        "text": lambda: render_text(reports()[0], TEXTS, lambda text, _: text, verbose=True),
    }
    text = texts[kind]()
    assert text.encode("utf-8")
    assert "\x1b" not in text
