from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.diff.compare import Difference
from bundle_fix.pipelines.compare import compare_artifacts
from bundle_fix.pipelines.target import Target
from bundle_fix.policy.policy import CheckPolicy

Compare = Callable[..., Difference]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Return a function that compares ``old`` and ``new`` in tmp_path, or other artifacts."""

    def run(
        old: Path | None = None, new: Path | None = None, target: Target | None = None,
        **expected: object,
    ) -> Difference:  # fmt: skip
        policy = CheckPolicy(**expected)  # type: ignore[arg-type]
        return compare_artifacts(
            old or tmp_path / "old", new or tmp_path / "new", policy, target or Target()
        )

    return run
