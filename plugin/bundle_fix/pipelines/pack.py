"""The pack pipeline: collect, strip, plan, edit, write, read back, check, commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.formats import DIRECTORY, choose_format, split_name
from bundle_fix.archive.writing import StagedArtifact, stage_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.collect.collector import collect_pack
from bundle_fix.collect.pack_builder import CollectedPack
from bundle_fix.debug.strip import Stripped, strip_bundle
from bundle_fix.elf.edit.pool import EditAll, edit_all, edit_pool
from bundle_fix.loader.bundle import make_bundle, read_bundle
from bundle_fix.manifest.builder import make_manifest, with_manifest
from bundle_fix.manifest.model import NAME, Manifest, path_of, read_manifest
from bundle_fix.manifest.sources import sources_of
from bundle_fix.manifest.tools import tool_versions
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.pipelines.apply import Action, AppliedPlan, apply_plan
from bundle_fix.pipelines.fix import FixResult, Options
from bundle_fix.pipelines.unchanged import (
    compute_inputs_digest,
    compute_tree_digest,
    find_unchanged_pack,
)
from bundle_fix.plan.planner import make_plan
from bundle_fix.spec.epoch import resolve_epoch
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_name
from bundle_fix.spec.variables import Values
from bundle_fix.storage.atomic import move_aside
from bundle_fix.storage.digests import compute_digests, make_hashing_step
from bundle_fix.storage.staging import scratch_directory
from bundle_fix.subprocesses.forks import is_worth_forking, run_in_subprocess

DONE = {"debug": "dropped", "split": "split off"}
"""The word for what happened to debug information, by the spec's ``debug.strip``."""


class PackResult(Struct, frozen=True):
    """The result of `make_pack`.

    Attributes:
        collected: the files that the pack was made from.
        manifest: the manifest of the pack.
        mended: the result of repair and check; None if the existing pack is kept.
        debug: the debug pack, if debug information was split off.
    """

    collected: CollectedPack
    manifest: Manifest
    mended: FixResult | None
    debug: Path | None = None


def get_output_path(spec: Spec, values: Values, output: Path | None) -> Path:
    """Return the path of the pack: ``output``, or a file in it if it is a directory.

    Without ``output`` the pack goes into the working directory.
    """
    suffix = "" if spec.bundle.format == DIRECTORY else f".{spec.bundle.format}"
    name = resolve_pack_name(spec, values) + suffix
    if output is None:
        return Path.cwd() / name
    return output / name if output.is_dir() else output


def get_debug_path(output: Path) -> Path:
    """Return the path of the debug pack of ``output``: ``NAME.debug.EXT`` beside it."""
    stem, suffix = split_name(output.name)
    return output.with_name(f"{stem}.debug{suffix}")


def make_pack(
    spec: Spec,
    values: Values,
    root: Path,
    output: Path,
    options: Options,
    if_changed: bool = False,
    progress: Progress = no_progress,
) -> PackResult:
    """Make the pack that ``spec`` describes and write it to ``output``.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the directory that its paths are relative to.
        output: the artifact to write.
        options: how to repair; the sonames that the spec pins are added.
        if_changed: whether to keep an existing pack that was made from the same inputs; otherwise
            a directory that is an earlier pack of that name is replaced.
        progress: receives the progress of each step.

    Raises:
        BundleFixError: a file of the spec is missing, or the pack cannot be written.
    """
    kind = choose_format(output, spec.bundle.format)
    may_stay = if_changed and not options.force and output.exists()
    with scratch_directory() as scratch, nullcontext(edit_all) if may_stay else edit_pool() as edit:
        collected = _collect_files(spec, values, root, options)
        options = replace(options, pinned=(*options.pinned, *collected.pinned))
        with _start_hashing(collected, progress) as get_digests:
            inputs = partial(_compute_inputs, spec, collected, options, kind, get_digests)
            if may_stay and (
                manifest := find_unchanged_pack(output, inputs(), get_debug_path(output))
            ):
                return PackResult(collected, manifest, None)
            stripped = strip_bundle(collected.bundle, spec.debug.strip, scratch, progress)
            applied = _plan_and_apply(stripped, spec, options, scratch, edit, progress)
            name = resolve_pack_name(spec, values)
            manifest = _describe_pack(
                applied, stripped, collected, name, root, inputs(), get_digests()
            )
        tree = with_manifest(applied.tree, manifest, resolve_epoch(spec, values))
        replaced = (
            if_changed and kind == DIRECTORY and _is_earlier_pack(output, path_of(manifest.name))
        )
        with stage_pack(tree, stripped.debug, kind, output, replaced, progress) as staged:
            written = read_bundle(staged.tree, str(output))
            verdict = check_bundle(written, options.policy, progress=progress)
            result = FixResult(applied, verdict, output)
            if result.failed and not options.force:
                return PackResult(collected, manifest, replace(result, written=None))
            staged.commit()
    debug = get_debug_path(output) if stripped.debug is not None else None
    return PackResult(collected, manifest, result, debug)


def _compute_inputs(
    spec: Spec,
    collected: CollectedPack,
    options: Options,
    kind: str,
    get_digests: Callable[[], Mapping[Content, str]],
) -> str:
    """Return the digest of everything that the pack is made from."""
    tools = tool_versions(collected.bundle.images.values(), spec.debug.strip)
    return compute_inputs_digest(collected, (spec.toml, options, kind, tools), get_digests())


def _collect_files(spec: Spec, values: Values, root: Path, options: Options) -> CollectedPack:
    collected = collect_pack(spec, values, root, options.policy.host)
    if NAME in collected.origins:
        raise BundleFixError(
            f"{NAME} is reserved for the manifest of the pack",
            where=collected.origins[NAME].requested_by, hint="give the file another name with `to`",
        )  # fmt: skip
    return collected


def _start_hashing(
    collected: CollectedPack, progress: Progress
) -> AbstractContextManager[Callable[[], Mapping[Content, str]]]:
    """Start hashing the collected files and return a function that waits for the digests.

    Many bytes are hashed in another process while the pack is planned.
    """
    contents = {file.content for _, file in collected.bundle.tree.iter_files()}
    step = make_hashing_step(contents)
    if is_worth_forking(step.size):
        progress(step, 0)
        return run_in_subprocess(partial(compute_digests, contents))
    return nullcontext(cache(partial(compute_digests, contents, progress=progress)))


def _plan_and_apply(
    stripped: Stripped,
    spec: Spec,
    options: Options,
    scratch: Path,
    edit: EditAll,
    progress: Progress,
) -> AppliedPlan:
    """Plan the edits of a stripped bundle and apply them; report the stripping as actions."""
    opened = options.policy.dlopen
    plan = make_plan(stripped.bundle, options.pinned, dlopened=opened)
    done = apply_plan(plan, options.editor, scratch, progress, edit)
    lost = [
        Action(path, f"{size:,} bytes of debug information {DONE[spec.debug.strip]}")
        for path, size in stripped.saved.items()
    ]
    return replace(done, actions=(*lost, *done.actions), remarks=(*stripped.remarks, *done.remarks))


def _describe_pack(
    applied: AppliedPlan,
    stripped: Stripped,
    collected: CollectedPack,
    name: str,
    root: Path,
    inputs: str,
    digests_by_content: Mapping[Content, str],
) -> Manifest:
    """Return the manifest of a pack; it names the debug pack by its digest, if there is one."""
    manifest = make_manifest(
        make_bundle(applied.tree, applied.images), name, sources_of(collected, root), inputs,
        digests_by_content,
    )  # fmt: skip
    if stripped.debug is None:
        return manifest
    return replace(manifest, debug=compute_tree_digest(stripped.debug))


@contextmanager
def stage_pack(
    tree: Tree, debug: Tree | None, kind: str, output: Path, replaced: bool, progress: Progress
) -> Iterator[StagedArtifact]:
    """Write a pack, and its debug pack if there is one, beside their final names.

    Args:
        tree: the pack.
        debug: its debug pack.
        kind: the format of both.
        output: the pack's final name.
        replaced: whether the directories of an earlier pack make way for it.
        progress: receives the progress of writing.
    """
    debug_output = get_debug_path(output)
    with ExitStack() as stack:
        for directory in (output, debug_output) if replaced else ():
            if directory.is_dir():
                stack.enter_context(move_aside(directory))
        pack = stack.enter_context(stage_artifact(tree, kind, output, progress))
        if debug is None:
            yield pack
            return
        debug_pack = stack.enter_context(stage_artifact(debug, kind, debug_output, progress))

        def commit_both() -> None:
            # The pack first: a debug pack alone would be of no use.
            pack.commit()
            debug_pack.commit()

        yield StagedArtifact(pack.tree, commit_both)


def _is_earlier_pack(output: Path, name: str) -> bool:
    """Return whether the directory at ``output`` is an earlier pack of that name."""
    if not output.is_dir():
        return False
    try:
        manifest = read_manifest(read_directory(output))
    except BundleFixError:
        return False
    return manifest is not None and path_of(manifest.name) == name
