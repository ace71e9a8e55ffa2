"""The diff pipeline: read two artifacts and their target, compare them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.check.checker import check_bundle
from bundle_fix.check.context import Context
from bundle_fix.check.repairs import NO_REPAIR, mark_repaired, predict_repair
from bundle_fix.diff.compare import Difference, compare_snapshots
from bundle_fix.diff.snapshot import Snapshot, find_matching_file
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.target import ArtifactOnTarget, Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy


def compare_artifacts(
    old: Path,
    new: Path,
    policy: CheckPolicy,
    target: Target,
    progress: Progress = no_progress,
) -> Difference:
    """Compare two artifacts on a target.

    Raises:
        BundleFixError: An artifact or the target cannot be read.
    """
    with (
        open_on_target(old, target, progress) as before,
        open_on_target(new, target, progress) as after,
    ):
        entries = before.entry, after.entry
        if entries[0] is not None and entries[1] is None:
            entries = entries[0], _find_entry_like(before, entries[0], after, new)
        elif entries[1] is not None and entries[0] is None:
            entries = _find_entry_like(after, entries[1], before, old), entries[1]
        # The comparison applies the ignores itself, to its own findings and those of both checks.
        unfiltered = replace(policy, ignore=())
        first, second = (
            Snapshot(str(path), Context(s.bundle, unfiltered, s.host, s.environment, entry))
            for path, s, entry in zip((old, new), (before, after), entries, strict=True)
        )
        difference = compare_snapshots(first, second, policy.ignore)
        repair = NO_REPAIR
        if after.is_repairable and difference.findings:
            check = partial(
                check_bundle, policy=unfiltered, host=after.host, environment=after.environment
            )
            repair = predict_repair(second.check_result, after.bundle, check)
        return replace(difference, findings=mark_repaired(difference.findings, repair))


def _find_entry_like(
    single: ArtifactOnTarget, entry: str, pack: ArtifactOnTarget, where: Path
) -> str:
    """Return the file of ``pack`` to compare with the ELF file ``single``."""
    image = single.bundle.images[entry]
    return find_matching_file(pack.bundle, image, Path(entry).name, str(where))
