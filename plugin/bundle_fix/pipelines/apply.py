"""Application of a plan to a tree: moves, symlinks, modes, and edits of ELF files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.edit.differences import described
from bundle_fix.elf.edit.edit import EditRefusedError
from bundle_fix.elf.edit.pool import EditAll, Job, edit_all, editors
from bundle_fix.elf.read.image import Image
from bundle_fix.model.content import Content
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import File, Node, Tree
from bundle_fix.model.wording import format_count
from bundle_fix.plan.planner import Plan
from bundle_fix.subprocesses.forks import is_worth_forking


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


def start_edit_pool(contents: Sequence[Content]) -> AbstractContextManager[EditAll]:
    """Start processes that edit these contents, if they are large enough to be worth it."""
    size = sum(content.size for content in contents)
    return editors(contents) if is_worth_forking(size) else nullcontext(edit_all)


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
