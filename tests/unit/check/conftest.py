"""The fixture that checks the directory of a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy

Check = Callable[..., list[Finding]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return a function that checks the directory of the test with fields of a policy.

    It returns the findings of one rule.
    """

    def find(rule: str, **policy: Any) -> list[Finding]:
        bundle = read_bundle(read_directory(tmp_path), str(tmp_path))
        result = check_bundle(bundle, CheckPolicy(**policy))
        return [finding for finding in result.findings if finding.rule == rule]

    return find
