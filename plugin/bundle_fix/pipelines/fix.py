"""The fix pipeline: read an artifact, plan, edit, write, read back, check, commit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.formats import (
    DIRECTORY,
    ELF,
    READ_ONLY,
    WHEEL,
    choose_format,
    convert_tree,
    split_name,
)
from bundle_fix.archive.inplace_directory import complete_update, stage_update
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.archive.writing import StagedArtifact, stage_artifact, stage_copy
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.result import CheckResult
from bundle_fix.loader.bundle import Bundle, build_bundle, read_bundle
from bundle_fix.manifest.builder import update_manifest
from bundle_fix.manifest.model import MANIFEST_NAME
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import InstallLocation
from bundle_fix.pipelines.apply import AppliedPlan, apply_plan, start_edit_pool
from bundle_fix.plan.planner import Plan, make_plan
from bundle_fix.plan.wheel import make_wheel_plan
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.storage.staging import create_scratch_directory

LOCATION_TEXTS = {
    InstallLocation.BESIDE_OTHERS: "a distribution package",
    InstallLocation.ROOT: "a root file system",
}


class Options(Struct, frozen=True):
    """Options of a repair.

    Attributes:
        policy: the policy that the repaired artifact is checked against.
        pinned: patterns of sonames that become needed by path.
        editor: the ELF editor, or ``auto``.
        force: write the output even if the check fails.
        move_to: the directory that libraries beside programs move to; empty: they stay.
        limits: the limits for reading the artifact.
    """

    policy: CheckPolicy = field(default_factory=CheckPolicy)
    pinned: tuple[str, ...] = ()
    editor: str = "auto"
    force: bool = False
    move_to: str = ""
    limits: Limits = DEFAULT_LIMITS


class FixResult(Struct, frozen=True):
    """The result of a repair. ``written`` is the output, or None if nothing was written."""

    applied: AppliedPlan
    verdict: CheckResult
    written: Path | None

    @property
    def failed(self) -> bool:
        """Return whether the check failed or a file could not be edited."""
        return self.verdict.failed or bool(self.applied.refusals)


class Repair(Struct, frozen=True):
    """An artifact and the tree that a plan made of it, before anything is written."""

    artifact: Artifact
    plan: Plan
    applied: AppliedPlan


def get_default_output(path: Path) -> Path:
    """Return ``NAME.fixed.EXT`` beside the artifact."""
    resolved = Path(os.path.realpath(path))
    stem, suffix = (resolved.name, "") if resolved.is_dir() else split_name(resolved.name)
    return resolved.with_name(f"{stem}.fixed{suffix}")


def fix_artifact(
    path: Path, output: Path, options: Options, progress: Progress = no_progress
) -> FixResult:
    """Repair the artifact at ``path`` and write the result to ``output``.

    The input is changed only if ``output`` is the same path. The output is written only if the
    check of the written artifact passes, or if ``options.force`` is set.

    Raises:
        BundleFixError: the input cannot be read, or the output cannot be written.
    """
    note = complete_update(path) if is_same_path(output, path) else ""
    with (
        open_repair(path, options, progress) as repair,
        stage_repair(repair, output, progress) as staged,
    ):
        applied = add_remark(repair.applied, f"{path}: {note}") if note else repair.applied
        written = read_bundle(staged.tree, str(output))
        verdict = check_bundle(written, options.policy, progress=progress)
        result = FixResult(applied, verdict, output)
        if result.failed and not options.force:
            return replace(result, written=None)
        staged.commit()
        return result


def dry_run_fix(path: Path, options: Options, progress: Progress = no_progress) -> FixResult:
    """Return the result of `fix_artifact` for the artifact at ``path``, without writing it."""
    with open_repair(path, options, progress) as repair:
        bundle = read_bundle(repair.applied.tree, str(path))
        verdict = check_bundle(bundle, options.policy, progress=progress)
        return FixResult(repair.applied, verdict, None)


@contextmanager
def open_repair(path: Path, options: Options, progress: Progress) -> Iterator[Repair]:
    """Read the artifact at ``path``, plan its repair, and edit its files in a scratch directory.

    Raises:
        BundleFixError: the artifact cannot be read, or is of a kind that `fix` does not change.
    """
    with (
        open_artifact(path, options.limits, progress) as artifact,
        create_scratch_directory() as scratch,
    ):
        ensure_writable(artifact)
        contents = [file.content for _, file in artifact.tree.iter_files()]
        with start_edit_pool(contents) as edit:
            bundle = read_bundle(artifact.tree, str(path))
            plan = plan_repair(bundle, artifact.format, options)
            applied = apply_plan(plan, options.editor, scratch, progress, edit)
        yield Repair(artifact, plan, renew_manifest(applied, artifact))


def plan_repair(bundle: Bundle, kind: str, options: Options) -> Plan:
    """Plan the repair of an artifact of format ``kind``; a wheel has rules of its own."""
    if kind == WHEEL:
        return make_wheel_plan(bundle, options.pinned)
    opened = options.policy.dlopen
    return make_plan(bundle, options.pinned, options.move_to, dlopened=opened)


def renew_manifest(applied: AppliedPlan, artifact: Artifact) -> AppliedPlan:
    """Update the manifest of a repaired pack, if it contains one."""
    if MANIFEST_NAME not in applied.tree.nodes:
        return applied
    tree = update_manifest(artifact.tree, build_bundle(applied.tree, applied.images))
    return replace(applied, tree=tree)


def stage_repair(
    repair: Repair, output: Path, progress: Progress
) -> AbstractContextManager[StagedArtifact]:
    """Write a repaired artifact beside ``output``; an unchanged one is copied byte for byte."""
    artifact, tree = repair.artifact, repair.applied.tree
    in_place = is_same_path(output, artifact.path)
    kind = artifact.format if in_place else choose_format(output, artifact.format)
    if repair.plan.is_empty and kind == artifact.format:
        return stage_copy(artifact, None if in_place else output)
    if in_place and kind == DIRECTORY:
        return stage_update(artifact.tree, tree, artifact.path, progress)
    return stage_artifact(convert_tree(tree, artifact.format, kind), kind, output, progress)


def add_remark(applied: AppliedPlan, remark: str) -> AppliedPlan:
    """Return ``applied`` with a remark before the others."""
    return replace(applied, remarks=(remark, *applied.remarks))


def is_same_path(one: Path, other: Path) -> bool:
    """Return whether two paths, existing or not, lead to the same place."""
    # Path.resolve raises on a loop of symlinks; realpath returns the path.
    return os.path.realpath(one) == os.path.realpath(other)


def ensure_writable(artifact: Artifact) -> None:
    """Raise `BundleFixError` if an artifact is of a kind that `fix` does not change."""
    if artifact.format == ELF:
        raise BundleFixError(
            "single ELF file", where=str(artifact.path),
            hint="use 'bundle-fix elf' for files; fix repairs tarballs, wheels and directories",
        )  # fmt: skip
    if artifact.format in READ_ONLY:
        raise BundleFixError(
            READ_ONLY[artifact.format], where=str(artifact.path),
            hint="fix the sources that it is built from, and build it again",
        )  # fmt: skip
    if artifact.tree.location is not InstallLocation.ANYWHERE:
        raise BundleFixError(
            f"this is {LOCATION_TEXTS[artifact.tree.location]}; fix changes only relocatable packs",
            where=str(artifact.path), hint="'bundle-fix check' checks it as it is installed",
        )  # fmt: skip
