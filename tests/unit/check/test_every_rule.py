"""Every rule reports the bad pack of its case, and does not report the good one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.check_report import CheckReport, describe_rules, make_check_report
from bundle_fix.report.render.json import render_json
from bundle_fix.report.render.text import render_text
from bundle_fix.report.schemas import build_check_schema

from .cases import CASES, Build, Case


def check_case(directory: Path, case: Case, build: Build, policy: Mapping[str, Any]) -> CheckReport:
    """Return the report on the pack that ``build`` makes."""
    root = directory / "pack"
    build(root)
    host = None
    if case.host is not None:
        case.host(directory / "host")
        host = RealHost(DirectoryFiles(directory / "host"), "/opt/pack")
    environment = Environment(hostile=True) if case.hostile else EMPTY_ENVIRONMENT
    with open_artifact(root) as artifact:
        bundle = read_bundle(artifact.tree, "pack")
        result = check_bundle(bundle, CheckPolicy(**policy), host, environment)
    return make_check_report("pack", result)


def test_every_rule_has_a_case() -> None:
    assert [rule.code for rule in CHECK_RULES if rule.code not in CASES] == [], "add it to cases.py"
    assert [code for code in CASES if code not in {rule.code for rule in CHECK_RULES}] == []


@pytest.mark.parametrize("code", sorted(CASES))
def test_the_bad_pack_has_a_finding_in_every_report_format(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    report = check_case(tmp_path, case, case.bad, case.policy)
    (finding, *_) = (f for f in report.findings if f.rule == code)
    assert finding.message
    assert finding.hint.endswith(".")
    assert finding.hint[0].isupper() or finding.hint.startswith("'bundle-fix")
    texts = describe_rules(CHECK_RULES)
    text = render_text(report, texts, lambda part, _: part, verbose=True)
    assert f" {code} {finding.name}: " in text
    assert all(len(line) <= 80 or "/" in line for line in text.splitlines())
    jsonschema.validate(json.loads(render_json([report])), build_check_schema())


@pytest.mark.parametrize("code", sorted(CASES))
def test_the_good_pack_has_no_finding(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    policy = case.policy if case.good_policy is None else case.good_policy
    report = check_case(tmp_path, case, case.good, policy)
    assert code not in {finding.rule for finding in report.findings}
