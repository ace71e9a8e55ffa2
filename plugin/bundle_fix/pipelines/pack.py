"""Makes a pack from a spec: collects, mends what was collected, writes it, checks it as written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache, partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.formats import DIRECTORY, format_for, split_name
from bundle_fix.archive.writing import write_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.collect.collection import Collected
from bundle_fix.collect.collector import collect
from bundle_fix.debug.strip import Stripped, strip_bundle
from bundle_fix.elf.edit.pool import EditAll, edit_all, editors
from bundle_fix.loader.bundle import make_bundle
from bundle_fix.manifest.builder import make_manifest, with_manifest
from bundle_fix.manifest.model import NAME, Manifest, path_of, read_manifest
from bundle_fix.manifest.sources import sources_of
from bundle_fix.manifest.tools import tool_versions
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.pipelines.fix import (
    Action,
    AppliedPlan,
    Approve,
    FixResult,
    Judge,
    Options,
    apply_plan,
    write_checked,
)
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
from bundle_fix.storage.atomic import set_aside
from bundle_fix.storage.digests import digests, hashing
from bundle_fix.storage.staging import scratch_folder
from bundle_fix.subprocesses.forks import is_worth_forking, run_in_subprocess

DONE = {"debug": "dropped", "split": "split off"}
"""What is said of debug information that was taken out."""


class PackResult(Struct, frozen=True):
    """A pack, what it was collected from, and what was mended in it on the way.

    ``mended`` is None where the pack that is there already is the one that would be made;
    ``debug`` is the debug pack beside it, where debug information was split off.
    """

    collected: Collected
    manifest: Manifest
    mended: FixResult | None
    debug: Path | None = None


def get_output_path(spec: Spec, values: Values, output: Path | None) -> Path:
    """Where the pack goes: ``output``, in it when it is a folder, else the working directory."""
    suffix = "" if spec.bundle.format == DIRECTORY else f".{spec.bundle.format}"
    name = resolve_pack_name(spec, values) + suffix
    if output is None:
        return Path.cwd() / name
    return output / name if output.is_dir() else output


def get_debug_path(output: Path) -> Path:
    """Where the debug information of the pack ``output`` goes: ``NAME.debug.EXT`` beside it."""
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
        root: the folder that its paths are relative to.
        output: the artifact to write.
        options: how to mend; what the spec pins is added.
        if_changed: whether to leave a pack alone that was made from the same; then a folder that is
            an earlier pack of that name is replaced.
        progress: is told how far it is.

    Raises:
        BundleFixError: something named is not there, or the pack cannot be written.
    """
    kind = format_for(output, spec.bundle.format)
    may_stay = if_changed and not options.force and output.exists()
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder())
        edit = stack.enter_context(nullcontext(edit_all) if may_stay else editors())
        collected = _collect_files(spec, values, root, options)
        known = stack.enter_context(_start_hashing(collected, progress))
        options = replace(options, pinned=(*options.pinned, *collected.pinned))
        tools = tool_versions(collected.bundle.images.values(), spec.debug.strip)
        settings = (spec.toml, options, kind, tools)
        inputs = cache(lambda: compute_inputs_digest(collected, settings, known()))
        if may_stay:
            there = find_unchanged_pack(output, inputs(), get_debug_path(output))
            if there is not None:
                return PackResult(collected, there, None)
        stripped = strip_bundle(collected.bundle, spec.debug.strip, scratch, progress)
        done = _plan_and_apply(stripped, spec, options, scratch, edit, progress)
        manifest = make_manifest(
            make_bundle(done.tree, done.images), resolve_pack_name(spec, values),
            sources_of(collected, root), inputs(), known(),
        )  # fmt: skip
        if stripped.debug is not None:
            manifest = replace(manifest, debug=compute_tree_digest(stripped.debug))
        tree = with_manifest(done.tree, manifest, resolve_epoch(spec, values))
        write = _make_writer(tree, stripped.debug, kind, output, progress)
        check = partial(check_bundle, expectations=options.expectations, progress=progress)
        if if_changed and kind == DIRECTORY and _is_earlier_pack(output, path_of(manifest.name)):
            for folder in filter(Path.is_dir, (output, get_debug_path(output))):
                stack.enter_context(set_aside(folder))
        mended = write_checked(write, done, output, check, force=options.force)
    debug = get_debug_path(output) if stripped.debug is not None and mended.written else None
    return PackResult(collected, manifest, mended, debug)


def _collect_files(spec: Spec, values: Values, root: Path, options: Options) -> Collected:
    collected = collect(spec, values, root, options.expectations.host)
    if NAME in collected.origins:
        raise BundleFixError(
            f"{NAME} is the name of the pack's own manifest",
            where=collected.origins[NAME].asked, hint="give the file another name with `to`",
        )  # fmt: skip
    return collected


def _start_hashing(
    collected: Collected, progress: Progress
) -> AbstractContextManager[Callable[[], Mapping[Content, str]]]:
    """What gives the digests of all that was collected; they are made while it is planned."""
    contents = {file.content for _, file in collected.bundle.tree.files()}
    step = hashing(contents)
    if is_worth_forking(step.size):
        progress(step, 0)
        return run_in_subprocess(partial(digests, contents))
    return nullcontext(cache(partial(digests, contents, progress=progress)))


def _plan_and_apply(
    stripped: Stripped,
    spec: Spec,
    options: Options,
    scratch: Path,
    edit: EditAll,
    progress: Progress,
) -> AppliedPlan:
    """What becomes of the files, with what was taken out of them before they are edited."""
    opened = options.expectations.dlopen
    plan = make_plan(stripped.bundle, options.pinned, opened=opened)
    done = apply_plan(plan, options.editor, scratch, progress, edit)
    lost = [
        Action(path, f"{size:,} bytes of debug information {DONE[spec.debug.strip]}")
        for path, size in stripped.saved.items()
    ]
    return replace(done, actions=(*lost, *done.actions), remarks=(*stripped.remarks, *done.remarks))


def _make_writer(
    tree: Tree, debug: Tree | None, kind: str, output: Path, progress: Progress
) -> Callable[[Judge, Approve], bool]:
    """What writes a pack, and the debug pack with it, once the pack is approved."""
    write = partial(write_artifact, tree, kind, output, progress=progress)

    def write_both(judge: Judge, approve: Approve) -> bool:
        # The pack takes its name first: a debug pack alone would be of no use.
        assert debug is not None  # noqa: S101 (chosen below)
        place = get_debug_path(output)
        return write_artifact(
            debug, kind, place, lambda _: None, lambda _: write(judge, approve), progress
        )

    return write if debug is None else write_both


def _is_earlier_pack(output: Path, name: str) -> bool:
    """Whether the folder at ``output`` is an earlier pack of that name."""
    if not output.is_dir():
        return False
    try:
        manifest = read_manifest(read_directory(output))
    except BundleFixError:
        return False
    return manifest is not None and path_of(manifest.name) == name
