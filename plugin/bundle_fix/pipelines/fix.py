"""The fix pipeline: read an artifact, plan, edit, write, read back, check, commit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.formats import (
    DIRECTORY,
    ELF,
    READ_ONLY,
    ZIP,
    choose_format,
    convert_tree,
    split_name,
)
from bundle_fix.archive.inplace_directory import complete_update, stage_update
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.archive.wheel import is_wheel
from bundle_fix.archive.writing import StagedArtifact, stage_artifact, stage_copy
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.check.repairs import plan_for_findings
from bundle_fix.check.result import CheckResult
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import InstallLocation, Tree
from bundle_fix.pipelines.apply import (
    AppliedPlan,
    apply_plan,
    renew_lists,
    renew_record,
    start_edit_pool,
)
from bundle_fix.plan.planner import Plan
from bundle_fix.plan.relocate import RelocatedBundle, move_libraries
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
    """The result of a repair.

    Attributes:
        applied: the changes.
        verdict: the check of the result.
        written: the output, or None if nothing was written.
        before: the check of the input; None for a new pack.
    """

    applied: AppliedPlan
    verdict: CheckResult
    written: Path | None
    before: CheckResult | None = None

    @property
    def failed(self) -> bool:
        """Return whether the check failed or a file could not be edited."""
        return self.verdict.failed or bool(self.applied.refusals)


class RepairPlan(Struct, frozen=True):
    """The planned repair of an artifact.

    Attributes:
        plan: the changes, each asked for by a finding.
        before: the check of the artifact as it is.
        predicted: the check of the artifact with the planned changes.
        facts: the facts about the contents of its files.
    """

    plan: Plan
    before: CheckResult
    predicted: CheckResult
    facts: FactCache


class Repair(Struct, frozen=True):
    """An artifact and the tree that a plan made of it, before anything is written."""

    artifact: Artifact
    planned: RepairPlan
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

    The input is changed only if ``output`` is the same path. Nothing is written if the planned
    changes cannot pass the check; the output appears only if the check of what was written passes.
    ``options.force`` writes it in any case.

    Raises:
        BundleFixError: the input cannot be read, or the output cannot be written.
    """
    note = complete_update(path) if is_same_path(output, path) else ""
    with open_repair(path, output, options, progress) as repair:
        applied = add_remark(repair.applied, f"{path}: {note}") if note else repair.applied
        before, predicted = repair.planned.before, repair.planned.predicted
        expected = FixResult(applied, predicted, None, before)
        if expected.failed and not options.force:
            return expected
        with stage_repair(repair, output, progress) as staged:
            written = read_bundle(staged.tree, str(output))
            facts = repair.planned.facts
            verdict = check_bundle(written, options.policy, progress=progress, known_facts=facts)
            result = FixResult(applied, verdict, output, before)
            if result.failed and not options.force:
                return replace(result, written=None)
            staged.commit()
            return result


def dry_run_fix(path: Path, options: Options, progress: Progress = no_progress) -> FixResult:
    """Return what `fix_artifact` would do to the artifact at ``path``, without writing it."""
    with open_repair(path, None, options, progress) as repair:
        bundle = read_bundle(repair.applied.tree, str(path))
        verdict = check_bundle(bundle, options.policy, progress=progress)
        return FixResult(repair.applied, verdict, None, repair.planned.before)


@contextmanager
def open_repair(
    path: Path, output: Path | None, options: Options, progress: Progress
) -> Iterator[Repair]:
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
            bundle = read_bundle(adapt_tree(artifact, output), str(path))
            planned = plan_repair(move_requested(bundle, options.move_to), options, progress)
            applied = apply_plan(planned.plan, options.editor, scratch, progress, edit)
        renewed = renew_lists(applied, artifact.tree)
        if is_wheel(renewed.tree) and not planned.plan.is_empty:
            renewed = renew_record(renewed)
        yield Repair(artifact, planned, renewed)


def plan_repair(
    relocated: RelocatedBundle, options: Options, progress: Progress = no_progress
) -> RepairPlan:
    """Check a pack and plan the repair that the findings ask for."""
    facts: FactCache = {}
    before = check_bundle(relocated.bundle, options.policy, progress=progress, known_facts=facts)
    check = partial(check_bundle, policy=options.policy, known_facts=facts)
    planned = plan_for_findings(relocated, before, check, options.pinned)
    return RepairPlan(planned.plan, before, planned.predicted, facts)


def move_requested(bundle: Bundle, directory: str) -> RelocatedBundle:
    """Move the libraries beside programs to ``directory``, if the user gave one.

    Raises:
        BundleFixError: ``directory`` is not usable.
    """
    return move_libraries(bundle, directory) if directory else RelocatedBundle(bundle, {}, {})


def adapt_tree(artifact: Artifact, output: Path | None) -> Tree:
    """Return the artifact's tree as it is planned: a zip archive as output loses symlinks."""
    kind = artifact.format if output is None else choose_output_format(artifact, output)
    return replace(artifact.tree, keeps_symlinks=False) if kind == ZIP else artifact.tree


def choose_output_format(artifact: Artifact, output: Path) -> str:
    """Return the format of ``output``: that of its name, or of the artifact that it replaces."""
    in_place = is_same_path(output, artifact.path)
    return artifact.format if in_place else choose_format(output, artifact.format)


def stage_repair(
    repair: Repair, output: Path, progress: Progress
) -> AbstractContextManager[StagedArtifact]:
    """Write a repaired artifact beside ``output``; an unchanged one is copied byte for byte."""
    artifact, tree = repair.artifact, repair.applied.tree
    in_place = is_same_path(output, artifact.path)
    kind = choose_output_format(artifact, output)
    if repair.planned.plan.is_empty and kind == artifact.format:
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
