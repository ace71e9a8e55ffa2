"""Mends an artifact: reads it, plans, edits, writes, reads back what was written, checks it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.formats import (
    DIRECTORY,
    ELF,
    READ_ONLY,
    WHEEL,
    converted,
    format_for,
    split_name,
)
from bundle_fix.archive.inplace_directory import complete_update, update_directory
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.archive.writing import copy_artifact, write_artifact
from bundle_fix.check.checker import Verdict, check_bundle
from bundle_fix.check.context import Expectations
from bundle_fix.elf.edit.differences import described
from bundle_fix.elf.edit.edit import EditRefusedError
from bundle_fix.elf.edit.pool import EditAll, Job, edit_all, editors
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, make_bundle, read_bundle
from bundle_fix.manifest.builder import renewed
from bundle_fix.manifest.model import NAME
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import File, InstallLocation, Node, Tree
from bundle_fix.model.wording import format_count
from bundle_fix.plan.planner import Plan, make_plan
from bundle_fix.plan.wheel import make_wheel_plan
from bundle_fix.storage.staging import scratch_folder
from bundle_fix.subprocesses.forks import is_worth_forking

Judge = Callable[[Tree], Verdict]
"""Checks the tree of a written artifact."""
Approve = Callable[[Verdict], bool]
"""Says of what was found in a written artifact whether the artifact may take its name."""


class Action(Struct, frozen=True):
    """One change that was made: to what, what it is, and who made it (an ELF editor) if told.

    ``passed`` says of each editor that was tried before why it was not the one.
    """

    path: str
    what: str
    editor: str = ""
    passed: tuple[str, ...] = ()


class AppliedPlan(Struct, frozen=True):
    """A plan carried out: the tree to write, what was done, and which files could not be edited.

    ``images`` are those of its ELF files; ``refusals`` are lines that name the file and the reason;
    ``remarks`` name the file and what its user should know, such as a choice between different
    files.
    """

    tree: Tree
    images: Mapping[str, Image]
    actions: tuple[Action, ...]
    refusals: tuple[str, ...]
    remarks: tuple[str, ...] = ()


class Options(Struct, frozen=True):
    """How to mend.

    Attributes:
        expectations: what the mended pack is checked for.
        pinned: patterns of sonames that are to be needed by path.
        editor: the ELF editor, or ``auto``.
        force: write the output whatever the check says.
        move_to: the folder of the pack that libraries beside programs move to; none when empty.
        limits: how much the artifact may hold.
    """

    expectations: Expectations = field(default_factory=Expectations)
    pinned: tuple[str, ...] = ()
    editor: str = "auto"
    force: bool = False
    move_to: str = ""
    limits: Limits = DEFAULT_LIMITS


class FixResult(Struct, frozen=True):
    """What became of a pack. ``written`` is None where something failed, or nothing was asked."""

    done: AppliedPlan
    verdict: Verdict
    written: Path | None

    @property
    def failed(self) -> bool:
        """Whether the pack is not what it should be."""
        return self.verdict.failed or bool(self.done.refusals)


def get_default_output(path: Path) -> Path:
    """``NAME.fixed.EXT`` beside the artifact."""
    resolved = Path(os.path.realpath(path))
    stem, suffix = (resolved.name, "") if resolved.is_dir() else split_name(resolved.name)
    return resolved.with_name(f"{stem}.fixed{suffix}")


def fix_artifact(
    path: Path, output: Path, options: Options, progress: Progress = no_progress
) -> FixResult:
    """Mend the artifact at ``path`` into ``output``; the input is not touched unless it is both.

    Raises:
        BundleFixError: the input cannot be read, or the output cannot be written.
    """
    note = complete_update(path) if is_same_path(output, path) else ""
    with _read_and_plan(path, options, progress) as (artifact, bundle, plan, mended):
        remarks = (f"{path}: {note}", *mended.remarks) if note else mended.remarks
        done = replace(mended, remarks=remarks)
        kind = artifact.format
        if not is_same_path(output, path):
            kind = format_for(output, kind)
        if plan.is_empty and kind == artifact.format:
            verdict = check_bundle(bundle, options.expectations, progress=progress)
            keep = options.force or not verdict.failed
            if keep and not is_same_path(output, path):
                copy_artifact(artifact, output)
            return FixResult(done, verdict, output if keep else None)

        def write(judge: Judge, approve: Approve) -> bool:
            if artifact.format == DIRECTORY and is_same_path(output, path):
                return update_directory(artifact.tree, done.tree, path, judge, approve, progress)
            tree = converted(done.tree, artifact.format, kind)
            return write_artifact(tree, kind, output, judge, approve, progress)

        check = partial(check_bundle, expectations=options.expectations, progress=progress)
        return write_checked(write, done, output, check, force=options.force)


def write_checked(
    write: Callable[[Judge, Approve], bool],
    done: AppliedPlan,
    output: Path,
    check: Callable[[Bundle], Verdict],
    *,
    force: bool,
) -> FixResult:
    """Write an artifact and check it as written, before it gets its name.

    Args:
        write: writes it, has the tree that it reads back judged, and gives the artifact its name
            only if the verdict is approved.
        done: what is written.
        output: the artifact's name.
        check: checks it.
        force: whether it is written all the same.
    """
    verdicts: list[Verdict] = []

    def judge(written: Tree) -> Verdict:
        return check(read_bundle(written, str(output)))

    def approve(verdict: Verdict) -> bool:
        verdicts.append(verdict)
        return force or not (verdict.failed or done.refusals)

    named = write(judge, approve)
    return FixResult(done, verdicts[-1], output if named else None)


def is_same_path(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place, whether or not anything is there."""
    # Path.resolve raises on a loop of links; realpath leaves it as it is.
    return os.path.realpath(one) == os.path.realpath(other)


def dry_run_fix(path: Path, options: Options, progress: Progress = no_progress) -> FixResult:
    """What `fix_artifact` would do to the artifact at ``path``; nothing is written."""
    with _read_and_plan(path, options, progress) as (_, _, _, done):
        bundle = read_bundle(done.tree, str(path))
        verdict = check_bundle(bundle, options.expectations, progress=progress)
        return FixResult(done, verdict, None)


@contextmanager
def _read_and_plan(
    path: Path, options: Options, progress: Progress
) -> Iterator[tuple[Artifact, Bundle, Plan, AppliedPlan]]:
    """The artifact, and its tree as it is to be written; both open until the context ends."""
    with (
        open_artifact(path, options.limits, progress) as artifact,
        scratch_folder() as scratch,
    ):
        if artifact.format == ELF:
            raise BundleFixError(
                "it is a single ELF file", where=str(path), hint="fix mends tarballs and folders"
            )
        ensure_writable(artifact)
        contents = [file.content for _, file in artifact.tree.files()]
        size = sum(content.size for content in contents)
        with editors(contents) if is_worth_forking(size) else nullcontext(edit_all) as edit:
            bundle = read_bundle(artifact.tree, str(path))
            if artifact.format == WHEEL:
                plan = make_wheel_plan(bundle, options.pinned)
            else:
                opened = options.expectations.dlopen
                plan = make_plan(bundle, options.pinned, options.move_to, opened=opened)
            done = apply_plan(plan, options.editor, scratch, progress, edit)
        if NAME in done.tree.nodes:
            tree = renewed(artifact.tree, make_bundle(done.tree, done.images))
            done = replace(done, tree=tree)
        yield artifact, bundle, plan, done


def ensure_writable(artifact: Artifact) -> None:
    """See that an artifact is of a kind that is mended.

    Raises:
        BundleFixError: it is none.
    """
    if artifact.format in READ_ONLY:
        raise BundleFixError(
            READ_ONLY[artifact.format], where=str(artifact.path),
            hint="mend what it is built from, and build it again",
        )  # fmt: skip
    if artifact.tree.place is not InstallLocation.ANYWHERE:
        raise BundleFixError(
            f"what is in it lies {artifact.tree.place.value}: there is nothing to mend",
            where=str(artifact.path), hint="'bundle-fix check' checks it as it is installed",
        )  # fmt: skip


def apply_plan(
    plan: Plan,
    editor: str,
    scratch: Path,
    progress: Progress = no_progress,
    edit: EditAll = edit_all,
) -> AppliedPlan:
    """The tree that a plan makes of a bundle; a file that cannot be edited stays as it was.

    Args:
        plan: what to change.
        editor: the ELF editor, or ``auto``.
        scratch: a folder for rewritten files, which must outlive the tree.
        progress: is told how many files are edited.
        edit: edits them.
    """
    actions = [Action(old, f"moved to {new}; a link stays") for old, new in plan.moved.items()]
    actions += [Action(old, f"renamed to {new}, its soname") for old, new in plan.renamed.items()]
    actions += [Action(path, f"dropped: a copy of {kept}") for path, kept in plan.dropped.items()]
    actions += [
        Action(path, f"turned into a link to {target}, an identical copy")
        if path in plan.merged
        else Action(path, f"linked to {target}")
        for path, target in plan.symlinks.items()
    ]
    actions += [Action(path, f"mode {mode:04o}") for path, mode in plan.modes.items()]
    refusals: list[str] = []
    tell = partial(progress, _describe_editing(plan))
    nodes: dict[str, Node] = dict(plan.tree.nodes)
    images = dict(plan.images)
    edits = ((path, nodes[path]) for path in plan.edits)
    files = {p: n for p, n in edits if isinstance(n, File) and n.twin is None}
    jobs = [Job(file.content, plan.edits[path]) for path, file in files.items()]
    outcomes = zip(files.items(), edit(jobs, scratch, editor), strict=True)
    for (path, node), edited in track_parts(outcomes, tell):
        if isinstance(edited, EditRefusedError):
            refusals.append(f"{path}: {edited.message}")
            continue
        same_size = edited.content.size == node.content.size
        header = node.header if same_size else None
        nodes[path] = replace(node, content=edited.content, header=header)
        images[path] = edited.image
        passed = edited.refusals
        for what in described(plan.images[path], edited.image):
            actions.append(Action(path, what, edited.editor, passed))
            passed = ()
    _update_hard_links(nodes, images, plan.edits)
    tree = replace(plan.tree, nodes=nodes)
    remarks = tuple(f"{path}: {text}" for path, texts in plan.remarks.items() for text in texts)
    return AppliedPlan(tree, images, tuple(actions), tuple(refusals), remarks)


def _describe_editing(plan: Plan) -> ProgressStep:
    nodes = (plan.tree.nodes[path] for path in plan.edits)
    size = sum(node.content.size for node in nodes if isinstance(node, File))
    return ProgressStep("editing", size, format_count(len(plan.edits), "file"), len(plan.edits))


def _update_hard_links(
    nodes: dict[str, Node], images: dict[str, Image], edits: Mapping[str, object]
) -> None:
    """Give hard links to an edited file its new bytes, and so its image."""
    for path, node in nodes.items():
        if isinstance(node, File) and node.twin in edits:
            original = nodes[str(node.twin)]
            if isinstance(original, File):
                nodes[path] = replace(node, content=original.content)
                images[path] = images[str(node.twin)]
