"""Every rule is tripped by a real pack, and not by one that nearly trips it."""

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


def found_in(folder: Path, case: Case, build: Build, expected: Mapping[str, Any]) -> CheckReport:
    """The report on the pack that ``build`` makes."""
    root = folder / "pack"
    build(root)
    host = None
    if case.host is not None:
        case.host(folder / "host")
        host = RealHost(DirectoryFiles(folder / "host"), "/opt/pack")
    environment = Environment(hostile=True) if case.hostile else EMPTY_ENVIRONMENT
    with open_artifact(root) as artifact:
        bundle = read_bundle(artifact.tree, "pack")
        verdict = check_bundle(bundle, CheckPolicy(**expected), host, environment)
    return make_check_report("pack", verdict)


def test_every_rule_has_a_case() -> None:
    assert [rule.code for rule in CHECK_RULES if rule.code not in CASES] == [], "add it to cases.py"
    assert [code for code in CASES if code not in {rule.code for rule in CHECK_RULES}] == []


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_pack_trips_the_rule_and_every_reader_is_told(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    report = found_in(tmp_path, case, case.trips, case.expected)
    (finding, *_) = (f for f in report.findings if f.rule == code)
    assert finding.message
    assert finding.hint.endswith(".")
    assert finding.hint[0].isupper() or finding.hint.startswith("'bundle-fix")
    texts = describe_rules(CHECK_RULES)
    told = render_text(report, texts, lambda text, _: text, verbose=True)
    assert f" {code} {finding.name}: " in told
    assert all(len(line) <= 80 or "/" in line for line in told.splitlines())
    jsonschema.validate(json.loads(render_json([report])), build_check_schema())


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_pack_that_nearly_trips_it_does_not(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    expected = case.expected if case.near is None else case.near
    report = found_in(tmp_path, case, case.nearly, expected)
    assert code not in {finding.rule for finding in report.findings}
