from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

Check = Callable[..., list[Finding]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Checks the folder of the test and gives the findings of one rule."""

    def run(rule: str, **expected: object) -> list[Finding]:
        bundle = read_bundle(read_directory(tmp_path), str(tmp_path))
        verdict = check_bundle(bundle, CheckPolicy(**expected))  # type: ignore[arg-type]
        return [finding for finding in verdict.findings if finding.rule == rule]

    return run
