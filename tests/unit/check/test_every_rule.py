"""Every rule is tripped by a real pack, and not by one that nearly trips it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bundle_fix.artifacts.directory import read_directory
from bundle_fix.bundle import read_bundle
from bundle_fix.check.context import Expectations
from bundle_fix.check.run import RULES, check_bundle
from bundle_fix.loader.files import FolderFiles
from bundle_fix.loader.host import CLEAN, Environment
from bundle_fix.loader.real_host import RealHost

from .cases import CASES, Build, Case


def codes(folder: Path, case: Case, build: Build, expected: Mapping[str, Any]) -> set[str]:
    """The codes of what is found in the pack that ``build`` makes."""
    root = folder / "pack"
    build(root)
    host = None
    if case.host is not None:
        case.host(folder / "host")
        host = RealHost(FolderFiles(folder / "host"), "/opt/pack")
    environment = Environment(hostile=True) if case.hostile else CLEAN
    bundle = read_bundle(read_directory(root), "pack")
    verdict = check_bundle(bundle, Expectations(**expected), host, environment)
    return {finding.rule for finding in verdict.findings}


def test_every_rule_has_a_case() -> None:
    assert [rule.code for rule in RULES if rule.code not in CASES] == [], "add it to cases.py"
    assert [code for code in CASES if code not in {rule.code for rule in RULES}] == []


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_pack_trips_the_rule(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    assert code in codes(tmp_path, case, case.trips, case.expected)


@pytest.mark.parametrize("code", sorted(CASES))
def test_a_pack_that_nearly_trips_it_does_not(tmp_path: Path, code: str) -> None:
    case = CASES[code]
    expected = case.expected if case.near is None else case.near
    assert code not in codes(tmp_path, case, case.nearly, expected)
