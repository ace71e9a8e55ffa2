"""The check pipeline: read an artifact and its target, run the rules, apply the policy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.check.checker import check_bundle
from bundle_fix.check.repairs import NO_REPAIR, mark_repaired, predict_repair
from bundle_fix.check.result import CheckResult
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy


def check_artifact(
    path: Path, policy: CheckPolicy, target: Target, progress: Progress = no_progress
) -> CheckResult:
    """Check one artifact on a target, and find out which findings `fix` repairs.

    Raises:
        BundleFixError: the artifact or the target cannot be read.
    """
    with open_on_target(path, target, progress) as artifact:
        check = partial(
            check_bundle, policy=policy, host=artifact.host, environment=artifact.environment,
            only=artifact.entry, known_facts={},
        )  # fmt: skip
        result = check(artifact.bundle, progress=progress)
        repair = NO_REPAIR
        if artifact.is_repairable:
            repair = predict_repair(result, artifact.bundle, check)
        findings = mark_repaired(result.findings, repair)
        return replace(result, findings=findings, fails_after_fix=repair.fails)
