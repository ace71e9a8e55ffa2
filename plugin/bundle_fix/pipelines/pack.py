"""The pack pipeline: collect, strip, plan, edit, write, read back, check, commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.formats import DIRECTORY, ZIP, split_name
from bundle_fix.archive.writing import StagedArtifact, stage_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.collect.collector import collect_pack
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.pack_builder import CollectedPack
from bundle_fix.debug.objcopy import Architecture
from bundle_fix.debug.strip import StrippedPack, strip_bundle
from bundle_fix.elf.edit.pool import EditAll, edit_all, edit_pool
from bundle_fix.loader.bundle import Bundle, build_bundle, read_bundle
from bundle_fix.manifest.builder import FileOrigin, build_manifest, insert_manifest
from bundle_fix.manifest.model import Manifest, decode_path, read_manifest
from bundle_fix.manifest.origins import describe_origins
from bundle_fix.manifest.tools import list_tool_versions
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import MANIFEST_NAME, Tree
from bundle_fix.pipelines.apply import Action, AppliedPlan, apply_plan, renew_checksum_lists
from bundle_fix.pipelines.fix import FixResult, Options
from bundle_fix.pipelines.unchanged import (
    compute_inputs_digest,
    compute_tree_digest,
    find_unchanged_pack,
)
from bundle_fix.plan.planner import Plan, make_plan
from bundle_fix.plan.wheels.setup import make_wheel_plan
from bundle_fix.spec.epoch import resolve_epoch
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_name
from bundle_fix.spec.variables import Values
from bundle_fix.storage.atomic import move_aside
from bundle_fix.storage.digests import compute_digests
from bundle_fix.storage.staging import create_scratch_directory

DONE = {"debug": "dropped", "split": "split off"}
"""The word for what happened to debug information, by the spec's ``debug.strip``."""


class PackRequest(Struct, frozen=True):
    """A pack to make.

    Attributes:
        spec: the spec.
        values: its variables and options.
        root: the directory that its paths are relative to.
        output: the artifact to write.
        format: its format, such as ``tar.gz``.
        options: how to repair; the sonames that the spec pins are added.
        sources: where the build finds libraries.
        objcopy: the objcopy of the build's toolchain, for the machine of the programs; if empty,
            one is searched.
        if_changed: whether to keep an existing pack that was made from the same inputs; otherwise
            a directory that is an earlier pack of that name is replaced.
    """

    spec: Spec
    values: Values
    root: Path
    output: Path
    format: str
    options: Options
    sources: LibrarySources = LibrarySources()
    objcopy: str = ""
    if_changed: bool = False

    @property
    def debug_output(self) -> Path:
        """The path of the debug pack: ``NAME.debug.EXT`` beside the output."""
        stem, suffix = split_name(self.output.name)
        return self.output.with_name(f"{stem}.debug{suffix}")

    @property
    def may_keep_output(self) -> bool:
        """Return whether an existing pack is kept if the inputs are unchanged."""
        return self.if_changed and not self.options.force and self.output.exists()


class PackResult(Struct, frozen=True):
    """The result of `make_pack`.

    Attributes:
        collected: the files that the pack was made from.
        manifest: the manifest of the pack.
        fixed: the result of repair and check; None if the existing pack is kept.
        debug: the debug pack, if debug information was split off.
    """

    collected: CollectedPack
    manifest: Manifest
    fixed: FixResult | None
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


def make_pack(request: PackRequest, progress: Progress = no_progress) -> PackResult:
    """Make the pack that a spec describes, and write it if its check passes.

    Raises:
        BundleFixError: a file of the spec is missing, or the pack cannot be written.
    """
    output = request.output
    with create_scratch_directory() as scratch, start_editors(request) as edit:
        collected = collect_files(request)
        digests = hash_files(collected, progress)
        toolchain = map_toolchain(request, collected.bundle)
        inputs = compute_inputs(request, collected, digests, toolchain)
        keeps = request.may_keep_output
        if keeps and (manifest := find_unchanged_pack(output, inputs, request.debug_output)):
            return PackResult(collected, manifest, fixed=None)
        strip = request.spec.debug.strip
        stripped = strip_bundle(collected.bundle, strip, scratch, progress, toolchain)
        plan = plan_pack(request, collected, stripped)
        applied = apply_pack_plan(request, plan, collected, stripped, scratch, edit, progress)
        origins = find_origins(request, collected, plan)
        manifest = describe_pack(request, inputs, origins, stripped, applied, digests)
        tree = insert_manifest(applied.tree, manifest, resolve_epoch(request.spec, request.values))
        with stage_pack(request, tree, stripped.debug, progress) as staged:
            written = read_bundle(staged.tree, str(output))
            verdict = check_bundle(written, request.options.policy, progress=progress)
            result = FixResult(applied, verdict, output)
            if result.failed and not request.options.force:
                return PackResult(collected, manifest, replace(result, written=None))
            staged.commit()
    debug = request.debug_output if stripped.debug is not None else None
    return PackResult(collected, manifest, result, debug)


def start_editors(request: PackRequest) -> AbstractContextManager[EditAll]:
    """Start processes that edit files, unless the existing pack may be kept."""
    return nullcontext(edit_all) if request.may_keep_output else edit_pool()


def collect_files(request: PackRequest) -> CollectedPack:
    """Collect the files of the spec.

    Raises:
        BundleFixError: a file is missing, or has the name of the manifest.
    """
    host = request.options.policy.host
    collected = collect_pack(request.spec, request.values, request.root, host, request.sources)
    if MANIFEST_NAME in collected.origins:
        raise BundleFixError(
            f"{MANIFEST_NAME} is reserved for the manifest of the pack",
            where=collected.origins[MANIFEST_NAME].requested_by,
            hint="give the file another name with `to`",
        )  # fmt: skip
    return collected


def hash_files(collected: CollectedPack, progress: Progress) -> Mapping[Content, str]:
    """Return the SHA-256 digests of the collected files."""
    contents = {file.content for _, file in collected.bundle.tree.iter_files()}
    return compute_digests(contents, progress=progress)


def compute_inputs(
    request: PackRequest,
    collected: CollectedPack,
    digests: Mapping[Content, str],
    toolchain: Mapping[Architecture, str],
) -> str:
    """Return the digest of everything that the pack is made from."""
    spec = request.spec
    options = replace(request.options, pinned=(*request.options.pinned, *collected.pinned))
    tools = list_tool_versions(collected.bundle.images.values(), spec.debug.strip, toolchain)
    return compute_inputs_digest(collected, (spec.toml, options, request.format, tools), digests)


def map_toolchain(request: PackRequest, bundle: Bundle) -> dict[Architecture, str]:
    """Return the objcopy of the toolchain by the architecture of the pack's programs."""
    images = (bundle.images[path] for path in (*bundle.list_programs(), *bundle.images))
    main = next(images, None) if request.objcopy else None
    return {main.architecture: request.objcopy} if main is not None else {}


def plan_pack(request: PackRequest, collected: CollectedPack, stripped: StrippedPack) -> Plan:
    """Plan the set-up of a stripped bundle; a zip archive gets files instead of symlinks."""
    pinned = (*request.options.pinned, *collected.pinned)
    opened = request.options.policy.dlopen
    if request.format == ZIP:
        return make_wheel_plan(stripped.bundle, pinned, dlopened=opened)
    return make_plan(stripped.bundle, pinned, dlopened=opened)


def apply_pack_plan(
    request: PackRequest,
    plan: Plan,
    collected: CollectedPack,
    stripped: StrippedPack,
    scratch: Path,
    edit: EditAll,
    progress: Progress,
) -> AppliedPlan:
    """Apply the plan of a stripped bundle and renew its lists; report the stripping as actions."""
    applied = apply_plan(plan, request.options.editor, scratch, progress, edit)
    done = DONE.get(request.spec.debug.strip, "")
    lost = [
        Action(path, f"{size:,} bytes of debug information {done}")
        for path, size in stripped.saved.items()
    ]
    remarks = (*stripped.remarks, *applied.remarks)
    applied = replace(applied, actions=(*lost, *applied.actions), remarks=remarks)
    return renew_checksum_lists(applied, collected.bundle.tree)


def find_origins(
    request: PackRequest, collected: CollectedPack, plan: Plan
) -> dict[str, FileOrigin]:
    """Return the origin of each file of the pack, also of those with a name from the plan."""
    origins = describe_origins(collected, request.root)
    new = {**{path: old for old, path in plan.renamed.items()}, **plan.copied}
    return {**{path: origins[old] for path, old in new.items() if old in origins}, **origins}


def describe_pack(
    request: PackRequest,
    inputs: str,
    origins: Mapping[str, FileOrigin],
    stripped: StrippedPack,
    applied: AppliedPlan,
    digests: Mapping[Content, str],
) -> Manifest:
    """Return the manifest of a pack; it names the debug pack by its digest, if there is one.

    ``inputs`` is the digest of what the pack is made from.
    """
    manifest = build_manifest(
        build_bundle(applied.tree, applied.images),
        resolve_pack_name(request.spec, request.values),
        origins,
        inputs,
        digests,
    )
    if stripped.debug is None:
        return manifest
    return replace(manifest, debug=compute_tree_digest(stripped.debug))


@contextmanager
def stage_pack(
    request: PackRequest, tree: Tree, debug: Tree | None, progress: Progress
) -> Iterator[StagedArtifact]:
    """Write a pack, and its debug pack if there is one, beside their final names."""
    output, debug_output = request.output, request.debug_output
    with ExitStack() as stack:
        for directory in (output, debug_output) if _replaces_directory(request) else ():
            if directory.is_dir():
                stack.enter_context(move_aside(directory))
        pack = stack.enter_context(stage_artifact(tree, request.format, output, progress))
        if debug is None:
            yield pack
            return
        debug_pack = stack.enter_context(
            stage_artifact(debug, request.format, debug_output, progress)
        )

        def commit_both() -> None:
            # The pack first: a debug pack alone would be of no use.
            pack.commit()
            debug_pack.commit()

        yield StagedArtifact(pack.tree, commit_both)


def _replaces_directory(request: PackRequest) -> bool:
    """Return whether the output is a directory with an earlier pack of the same name."""
    if not (request.if_changed and request.format == DIRECTORY and request.output.is_dir()):
        return False
    try:
        manifest = read_manifest(read_directory(request.output))
    except BundleFixError:
        return False
    name = resolve_pack_name(request.spec, request.values)
    return manifest is not None and decode_path(manifest.name) == name
