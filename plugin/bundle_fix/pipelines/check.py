"""The check pipeline: read an artifact and its target, run the rules, apply the policy."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.check.checker import check_bundle
from bundle_fix.check.result import CheckResult
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy


def check_artifact(
    path: Path, policy: CheckPolicy, target: Target, progress: Progress = no_progress
) -> CheckResult:
    """Check one artifact on a target.

    Raises:
        BundleFixError: the artifact or the target cannot be read.
    """
    with open_on_target(path, target, progress) as artifact:
        return check_bundle(
            artifact.bundle,
            policy,
            artifact.host,
            artifact.environment,
            artifact.entry,
            progress,
        )
