"""The check pipeline: run the rules on an open artifact, apply the policy."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.check.repairs import NO_REPAIR, mark_repaired, predict_repair
from bundle_fix.check.result import CheckResult
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.target import ArtifactOnTarget
from bundle_fix.policy.policy import CheckPolicy


def check_artifact(
    artifact: ArtifactOnTarget,
    policy: CheckPolicy,
    facts: FactCache,
    progress: Progress = no_progress,
) -> CheckResult:
    """Check one artifact on a target, and find out which findings `fix` repairs.

    The facts about its files are added to ``facts``.

    Raises:
        BundleFixError: the artifact cannot be read.
    """
    check = partial(
        check_bundle, policy=policy, host=artifact.host, environment=artifact.environment,
        only=artifact.entry, known_facts=facts,
    )  # fmt: skip
    result = check(artifact.bundle, progress=progress)
    repair = NO_REPAIR
    if artifact.is_repairable:
        repair = predict_repair(result, artifact.bundle, check)
    findings = mark_repaired(result.findings, repair)
    return replace(result, findings=findings, fails_after_fix=repair.fails)
