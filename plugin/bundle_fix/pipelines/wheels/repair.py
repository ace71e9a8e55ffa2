"""Repair of a wheel for other machines: bundled libraries, tags, RECORD, a bill of materials."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.formats import WHEEL
from bundle_fix.archive.reading import Artifact, open_artifact
from bundle_fix.archive.wheel import METADATA_SUFFIX, WheelName, parse_wheel_name, update_record
from bundle_fix.archive.writing import stage_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.collect.libraries.packages import find_owners, read_distribution
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.manifest.wheel_sbom import SBOM_NAME, BundledLibrary, render_wheel_sbom
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import File, Metadata, Node, Tree
from bundle_fix.pipelines.apply import Action, AppliedPlan, apply_plan
from bundle_fix.pipelines.fix import FixResult, Options, is_same_path
from bundle_fix.pipelines.wheels.candidates import (
    Candidate,
    WheelContents,
    choose_candidate,
    find_candidates,
    select_objects,
)
from bundle_fix.pipelines.wheels.wheel_plan import plan_wheel
from bundle_fix.plan.wheels.platforms import list_platforms, read_source
from bundle_fix.plan.wheels.tags import find_metadata_directory, set_tags
from bundle_fix.storage.digests import compute_sha256
from bundle_fix.storage.staging import create_scratch_directory


class RepairedWheel(Struct, frozen=True):
    """A wheel after the repair, before it is written."""

    name: WheelName
    applied: AppliedPlan
    candidate: Candidate


def repair_wheel(
    path: Path,
    directory: Path,
    options: Options,
    included: Sequence[str] = (),
    progress: Progress = no_progress,
) -> FixResult:
    """Bundle the libraries of a wheel that its targets may not have, and write it to ``directory``.

    The name of the result has the best tag that its contents allow. It is written only if it passes
    the check, or with ``options.force``.

    Args:
        path: the wheel.
        directory: the output directory.
        options: how to repair and to check.
        included: names of libraries, or paths of files, to bundle although no object needs them.
        progress: receives the progress.

    Raises:
        BundleFixError: the wheel cannot be read, a library is not found, or no tag fits.
    """
    with (
        open_artifact(path, options.limits, progress) as artifact,
        create_scratch_directory() as scratch,
    ):
        wheel = _read_wheel(artifact)
        objects = scratch / "objects"
        objects.mkdir()
        candidates = list(find_candidates(wheel, objects, options.policy.host, included))
        candidate = choose_candidate(candidates)
        repaired = _apply(wheel, candidate, options, included, scratch, progress)
        applied = replace(
            repaired.applied,
            remarks=(*_explain_choice(candidates, candidate), *repaired.applied.remarks),
        )
        target = directory / str(repaired.name)
        if is_same_path(target, path):
            raise BundleFixError(
                "the output is the input",
                where=str(target),
                hint="choose another directory with -o",
            )
        provided = tuple(sorted(candidate.platform.libraries))
        policy = replace(options.policy, host=(*options.policy.host, *provided))
        with stage_artifact(applied.tree, WHEEL, target, progress) as staged:
            verdict = check_bundle(read_bundle(staged.tree, target.name), policy, progress=progress)
            result = FixResult(applied, verdict, target)
            if result.failed and not options.force:
                return replace(result, written=None)
            staged.commit()
            return result


def _read_wheel(artifact: Artifact) -> WheelContents:
    """Return the contents of a wheel.

    Raises:
        BundleFixError: it is not a wheel with objects for one platform.
    """
    where = str(artifact.path)
    if artifact.format != WHEEL:
        raise BundleFixError("this is not a wheel", where=where, hint="omit --repair-wheel")
    try:
        name = parse_wheel_name(artifact.path.name)
        info = find_metadata_directory(artifact.tree)
        bundle = read_bundle(_merge_platlib(artifact.tree, info), where)
        for path in bundle.images:
            if path.startswith(f"{info.removesuffix(METADATA_SUFFIX)}.data/purelib/"):
                raise BundleFixError(
                    f"{path} is compiled code in the part for code without a platform",
                    hint="install it to platlib",
                )
        return select_objects(name, bundle)
    except BundleFixError as error:
        error.where = error.where or where
        raise


def _merge_platlib(tree: Tree, info: str) -> Tree:
    """Return a tree with the files of NAME.data/platlib in the root, where pip installs both.

    Root-Is-Purelib is false in a repaired wheel (PEP 427).
    """
    prefix = f"{info.removesuffix(METADATA_SUFFIX)}.data/platlib/"
    nodes: dict[str, Node] = {}
    for path, node in tree.nodes.items():
        moved = path.removeprefix(prefix)
        if moved in nodes or (moved != path and moved in tree.nodes):
            raise BundleFixError(f"two members of the wheel are installed as {moved}")
        nodes[moved] = node if moved == path else replace(node, header=None)
    return replace(tree, nodes=nodes)


def _apply(
    wheel: WheelContents,
    candidate: Candidate,
    options: Options,
    included: Sequence[str],
    scratch: Path,
    progress: Progress,
) -> RepairedWheel:
    """Return the wheel with its libraries under their final names, its tags and its metadata."""
    planned = plan_wheel(wheel, candidate, included)
    paths = planned.paths
    moved = [
        Action(old, f"moved to {new}; a Python script starts it")
        for old, new in planned.scripts.items()
    ]
    applied = apply_plan(planned.plan, options.editor, scratch / "edited", progress)
    added = [
        Action(paths.get(path, path), f"added: from {o.source}, needed by {o.requested_by}")
        for path, o in candidate.origins.items()
        if path in candidate.bundle.images
    ]
    name = wheel.name.with_platforms(_choose_tags(wheel, candidate))
    tree = set_tags(applied.tree, name)
    if candidate.libraries:
        tree = _add_sbom(tree, wheel, candidate, paths)
    tree = update_record(tree)
    actions = (
        *added,
        *moved,
        *applied.actions,
        Action(str(name), "the tags in its name and in WHEEL"),
    )
    return RepairedWheel(name, replace(applied, tree=tree, actions=actions), candidate)


def _choose_tags(wheel: WheelContents, candidate: Candidate) -> list[str]:
    """Return the tags of the platform, and those in the name that ask for a newer target."""
    platforms = list_platforms(wheel.libc, wheel.architecture)
    newer = platforms[[p.name for p in platforms].index(candidate.platform.name) + 1 :]
    kept = [tag for platform in newer for tag in platform.tags if tag in wheel.name.platforms]
    return [*candidate.platform.tags, *kept]


def _add_sbom(
    tree: Tree, wheel: WheelContents, candidate: Candidate, paths: Mapping[str, str]
) -> Tree:
    info = find_metadata_directory(tree)
    sources = {path: candidate.origins[path].source for path in candidate.libraries}
    owners = find_owners(source for source in sources.values() if source is not None)
    libraries = []
    for path, source in sources.items():
        node, soname = tree.nodes[paths[path]], candidate.bundle.images[path].soname
        assert isinstance(node, File)  # noqa: S101 (libraries are files)
        package = None if source is None else owners.get(source)
        libraries.append(
            BundledLibrary(
                paths[path],
                soname or posixpath.basename(path),
                compute_sha256(node.content),
                package,
            )
        )
    _, _, version = info.removesuffix(METADATA_SUFFIX).partition("-")
    text = render_wheel_sbom(wheel.name.distribution, version, libraries, read_distribution())
    mtime = max(node.metadata.mtime for node in tree.nodes.values())
    sbom = File(BytesContent(text), Metadata(0o644, mtime=mtime))
    return replace(tree, nodes={**tree.nodes, f"{info}/sboms/{SBOM_NAME}": sbom})


def _explain_choice(candidates: Sequence[Candidate], chosen: Candidate) -> Iterator[str]:
    """Yield a line on the tag, and on why the wheel cannot have that of an older target."""
    yield f"{chosen.platform.name}: the best tag for the contents (policies of {read_source()})"
    older = candidates[: candidates.index(chosen)]
    if older and older[-1].obstacles:
        yield f"{older[-1].platform.name}: not possible: {'; '.join(older[-1].obstacles)}"
    elif older:
        count = len(older[-1].libraries) - len(chosen.libraries)
        yield f"{older[-1].platform.name}: would need {count} more bundled libraries"
