"""Application of a plan to a tree: moves, symlinks, modes, edits of ELF files, lists of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.wheel import find_signatures, update_record
from bundle_fix.elf.differences import describe_differences
from bundle_fix.elf.edit.edit import EditResult, describe_doubts
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.edit.pool import EditAll, EditJob, edit_all, edit_pool
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import build_bundle
from bundle_fix.manifest.builder import update_manifest
from bundle_fix.manifest.checksums import renew_checksums
from bundle_fix.model.content import Content
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import MANIFEST_NAME, File, Node, Tree
from bundle_fix.model.wording import format_count
from bundle_fix.plan.planner import Plan
from bundle_fix.subprocesses.forks import is_worth_forking


class Action(Struct, frozen=True):
    """One change that was made.

    Attributes:
        path: the changed member.
        change: the change, as a phrase for people.
        editor: the ELF editor that made it; empty for other changes.
        rules: the codes of the rules whose findings ask for it; empty if the user does.
        skipped: for each editor that was tried before, why it could not make the edit.
    """

    path: str
    change: str
    editor: str = ""
    rules: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class AppliedPlan(Struct, frozen=True):
    """The tree that a plan made, before it is written.

    Attributes:
        tree: the tree to write.
        images: the images of its ELF files, by path.
        actions: the changes that were made.
        refusals: a line for each file that could not be edited, with the reason.
        remarks: lines for the user, such as a choice between different files.
    """

    tree: Tree
    images: Mapping[str, Image]
    actions: tuple[Action, ...]
    refusals: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def start_edit_pool(contents: Sequence[Content]) -> AbstractContextManager[EditAll]:
    """Start processes that edit these contents, if they are large enough to be worth it."""
    size = sum(content.size for content in contents)
    return edit_pool(contents) if is_worth_forking(size) else nullcontext(edit_all)


def apply_plan(
    plan: Plan,
    editor: str,
    scratch: Path,
    progress: Progress = no_progress,
    edit: EditAll = edit_all,
) -> AppliedPlan:
    """Return the tree that a plan makes of a bundle; a file that cannot be edited is unchanged.

    Args:
        plan: the changes.
        editor: the ELF editor, or ``auto``.
        scratch: a directory for rewritten files, which must outlive the tree.
        progress: receives the number of edited files.
        edit: edits the files, maybe in other processes.
    """
    actions = _list_tree_actions(plan)
    refusals: list[str] = []
    doubts: dict[str, list[str]] = {}
    nodes: dict[str, Node] = dict(plan.tree.nodes)
    images = dict(plan.images)
    for path, edited in _edit_files(plan, editor, scratch, progress, edit):
        if isinstance(edited, EditRefusedError):
            refusals.append(f"{path}: {edited.message}")
            continue
        nodes[path] = _replace_content(nodes[path], edited.content)
        images[path] = edited.image
        actions += _list_edit_actions(path, plan.images[path], edited)
        for doubt in describe_doubts(plan.images[path], edited):
            doubts.setdefault(doubt, []).append(path)
    _update_hard_links(nodes, images, plan.edits)
    actions = [replace(a, rules=_find_reasons(plan, a.path)) for a in actions]
    tree = replace(plan.tree, nodes=nodes)
    remarks = [f"{path}: {text}" for path, texts in plan.remarks.items() for text in texts]
    remarks += (_format_doubt(*item) for item in doubts.items())
    return AppliedPlan(tree, images, tuple(actions), tuple(refusals), tuple(remarks))


def _format_doubt(doubt: str, paths: Sequence[str]) -> str:
    where = paths[0] if len(paths) == 1 else format_count(len(paths), "file")
    return f"{where}: note: {doubt}"


def _list_tree_actions(plan: Plan) -> list[Action]:
    """Return the actions of a plan that change the tree and not the bytes of a file."""
    actions = [Action(old, f"moved to {new}; a symlink remains") for old, new in plan.moved.items()]
    actions += [Action(old, f"renamed to {new}, its soname") for old, new in plan.renamed.items()]
    actions += [Action(path, f"dropped: a copy of {kept}") for path, kept in plan.dropped.items()]
    actions += [
        Action(path, f"replaced by a symlink to {target}, an identical copy")
        if path in plan.merged
        else Action(path, f"symlink to {target} {_describe_addition(plan, path)}")
        for path, target in plan.symlinks.items()
    ]
    actions += [
        Action(path, f"{_describe_addition(plan, path)}: a copy of {original}")
        for path, original in plan.copied.items()
    ]
    actions += [
        Action(path, f"a copy of {end} instead of a link") for path, end in plan.replaced.items()
    ]
    if plan.record:
        actions.append(Action(plan.record, "renewed: it lists the files as they are"))
    return actions + [Action(path, f"mode {mode:04o}") for path, mode in plan.modes.items()]


def _describe_addition(plan: Plan, path: str) -> str:
    return "restored from a text file" if path in plan.restored else "added"


def _find_reasons(plan: Plan, path: str) -> tuple[str, ...]:
    return plan.reasons.get(plan.renamed.get(path, path), ())


def _edit_files(
    plan: Plan, editor: str, scratch: Path, progress: Progress, edit: EditAll
) -> Iterator[tuple[str, EditResult | EditRefusedError]]:
    """Edit the files of a plan, each inode once, and yield the outcome for each path."""
    nodes = ((path, plan.tree.nodes[path]) for path in plan.edits)
    files = {p: n for p, n in nodes if isinstance(n, File) and n.hardlink is None}
    jobs = [EditJob(file.content, plan.edits[path]) for path, file in files.items()]
    outcomes = zip(files, edit(jobs, scratch, editor), strict=True)
    return track_parts(outcomes, partial(progress, _describe_editing(plan)))


def _replace_content(node: Node, content: Content) -> File:
    """Return a file with other bytes; its archive header stays valid if the size is the same."""
    if not isinstance(node, File):
        raise TypeError(node)
    header = node.header if content.size == node.content.size else None
    return replace(node, content=content, header=header)


def _list_edit_actions(path: str, before: Image, edited: EditResult) -> list[Action]:
    """Return an action for each difference; the first names the editors that failed before."""
    texts = list(describe_differences(before, edited.image))
    passed = [edited.refusals, *[()] * len(texts)]
    return [
        Action(path, text, edited.editor, skipped=reasons)
        for text, reasons in zip(texts, passed, strict=False)
    ]


def _describe_editing(plan: Plan) -> ProgressStep:
    nodes = (plan.tree.nodes[path] for path in plan.edits)
    size = sum(node.content.size for node in nodes if isinstance(node, File))
    return ProgressStep("editing", size, format_count(len(plan.edits), "file"), len(plan.edits))


def _update_hard_links(
    nodes: dict[str, Node], images: dict[str, Image], edits: Mapping[str, object]
) -> None:
    """Give hard links to an edited file its new bytes, and so its image."""
    for path, node in nodes.items():
        if isinstance(node, File) and node.hardlink in edits:
            original = nodes[str(node.hardlink)]
            if isinstance(original, File):
                nodes[path] = replace(node, content=original.content)
                images[path] = images[str(node.hardlink)]


def renew_lists(applied: AppliedPlan, before: Tree) -> AppliedPlan:
    """Update the lists of checksums and the manifest of a repaired artifact.

    ``before`` is the tree that the lists describe.
    """
    renewed = renew_checksum_lists(applied, before)
    if MANIFEST_NAME not in applied.tree.nodes:
        return renewed
    tree = update_manifest(before, build_bundle(renewed.tree, renewed.images))
    # The manifest may contain a list of checksums, or a list the manifest.
    return renew_checksum_lists(replace(renewed, tree=tree), before)


def renew_checksum_lists(applied: AppliedPlan, before: Tree) -> AppliedPlan:
    """Update the lists of checksums of files that changed since ``before``; not the manifest."""
    renewal = renew_checksums(before, applied.tree)
    actions = [Action(path, "checksums of changed files renewed") for path in renewal.paths]
    return replace(
        applied,
        tree=renewal.tree,
        actions=(*applied.actions, *actions),
        remarks=(*applied.remarks, *renewal.remarks),
    )


def renew_record(applied: AppliedPlan) -> AppliedPlan:
    """Update the RECORD of a repaired wheel, and remove the signatures of the old one.

    Raises:
        BundleFixError: the RECORD cannot be read.
    """
    signatures = find_signatures(applied.tree)
    remarks = (f"{path}: removed: it is a signature of the old RECORD" for path in signatures)
    return replace(applied, tree=update_record(applied.tree), remarks=(*applied.remarks, *remarks))
