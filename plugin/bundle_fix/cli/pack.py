"""``bundle-fix pack``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import click
from msgspec import Struct, structs
from msgspec.structs import replace

from bundle_fix.archive.formats import choose_format
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.fix_result import print_result
from bundle_fix.cli.options import (
    ARTIFACT_OUTPUT,
    DIRECTORY,
    PATH,
    add_message_options,
    define_option,
    editor_option,
    force_option,
    host_option,
    parse_text,
    print_message,
    read_defines,
    read_sources,
    search_option,
    sysroot_option,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.collect.target_machine import resolve_target
from bundle_fix.elf.lief_library import require_editor
from bundle_fix.manifest.model import Manifest, decode_manifest, encode_manifest
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.tree import Symlink
from bundle_fix.pipelines.apply import Action
from bundle_fix.pipelines.depfile import find_inputs, format_make_rule
from bundle_fix.pipelines.fix import Options
from bundle_fix.pipelines.pack import PackRequest, PackResult, get_output_path, make_pack
from bundle_fix.pipelines.unchanged import list_differences
from bundle_fix.policy.from_spec import build_policy
from bundle_fix.report.render.sbom import render_sbom, require_cyclonedx
from bundle_fix.spec.epoch import find_explicit_epoch
from bundle_fix.spec.names import resolve_pack_name
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import require_values, resolve_variables
from bundle_fix.storage.atomic import move_aside, write_text


@click.command(cls=CommandWithExamples)
@click.argument("spec", type=PATH)
@click.option(
    "-C",
    "--root",
    type=DIRECTORY,
    metavar="ROOT",
    help="Resolve paths of the spec relative to ROOT (default: the directory of SPEC).",
)
@define_option
@click.option(
    "-o",
    "--output",
    type=ARTIFACT_OUTPUT,
    metavar="OUT",
    help="Write the pack to OUT, a file or a directory (default: the working directory).",
)
@click.option(
    "--depfile",
    type=PATH,
    metavar="FILE",
    help="Write the inputs of the pack to FILE as a make rule.",
)
@click.option(
    "--stamp",
    type=PATH,
    metavar="FILE",
    help="Write the pack's path to FILE and use FILE as the --depfile target. A directory pack from"
    " the previous run is overwritten.",
)
@click.option(
    "--if-changed",
    is_flag=True,
    help="Do nothing if the inputs are unchanged and the pack matches its manifest.",
)
@click.option(
    "--name-file",
    type=PATH,
    metavar="FILE",
    help="Write the pack's name without suffix to FILE.",
)
@click.option(
    "--sbom",
    type=PATH,
    metavar="FILE",
    help="Write a bill of materials (CycloneDX 1.6, JSON) to FILE.",
)
@click.option(
    "--licenses",
    is_flag=True,
    help="Copy the licence files of bundled system packages to licenses/.",
)
@search_option
@sysroot_option
@click.option(
    "--objcopy",
    type=parse_text,
    metavar="PROGRAM",
    help="Strip files for the machine of the pack's programs with PROGRAM.",
)
@force_option
@host_option
@editor_option
@add_message_options
def pack(
    spec: Path,
    root: Path | None,
    defines: tuple[str, ...],
    output: Path | None,
    depfile: Path | None,
    stamp: Path | None,
    if_changed: bool,
    name_file: Path | None,
    sbom: Path | None,
    licenses: bool,
    search: tuple[str, ...],
    sysroot: Path | None,
    objcopy: str | None,
    force: bool,
    host_provides: tuple[str, ...],
    editor: str | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Make the pack that SPEC (a bundle.toml) describes.

    The command collects all files of the spec, sets the RUNPATH of each object, writes the pack and
    checks it against a hostile host. The output is written only if the check passes.

    Exit code: 0 success, 1 the check failed, 2 invalid request.
    """
    if sbom is not None:
        require_cyclonedx()
    loaded = load_spec(spec)
    if licenses:
        loaded = structs.replace(loaded, bundle=structs.replace(loaded.bundle, licenses=True))
    directory = _resolve_root(root or spec.parent)
    sources = read_sources(search, sysroot)
    values = resolve_variables(loaded, directory, read_defines(defines), os.environ)
    values = resolve_target(values, sources)
    require_values(loaded, values)
    policy = build_policy(loaded, values)
    policy = replace(policy, host=(*policy.host, *host_provides))
    editor = editor or loaded.runpath.editor
    require_editor(editor)
    options = Options(policy, editor=editor, force=force)
    target = get_output_path(loaded, values, output)
    kind = choose_format(target, loaded.bundle.format)
    request = PackRequest(
        loaded, values, directory, target, kind, options, sources, objcopy or "", if_changed
    )
    previous = _read_previous_manifest(target, stamp)
    replaces_pack = not if_changed and target.is_dir() and _is_previous_pack(target, stamp)
    with (
        move_aside(target) if replaces_pack else nullcontext(),
        show_progress(quiet=quiet, color=color) as progress,
    ):
        packed = make_pack(request, progress)
    if previous is not None and not verbose:
        _print_pack(_select_differences(packed, target, previous), target, quiet, verbose, color)
    else:
        _print_pack(packed, target, quiet, verbose, color)
    result = packed.fixed
    written = target if result is None else result.written
    if written is not None:
        side_files = SideFiles(stamp, depfile, name_file, sbom)
        for path, text in _render_side_files(side_files, request, packed):
            write_text(path, text)
        sys.stdout.write(f"{written}\n")
    return 1 if result is not None and result.failed else 0


def _resolve_root(directory: Path) -> Path:
    if not directory.is_dir():
        raise BundleFixError("no such directory", where=str(directory), hint="set the root with -C")
    return directory.resolve()


def _print_pack(packed: PackResult, target: Path, quiet: bool, verbose: bool, color: str) -> None:
    for line in describe_result(packed, target):
        print_message(escape_unprintable(line), quiet=quiet)
    if packed.fixed is not None:
        print_result(target, packed.fixed, dry_run=False, quiet=quiet, verbose=verbose, color=color)


class SideFiles(Struct, frozen=True):
    """The files that ``pack`` writes beside the pack, as far as the user asked for them."""

    stamp: Path | None
    depfile: Path | None
    name_file: Path | None
    sbom: Path | None


def _render_side_files(
    files: SideFiles, request: PackRequest, packed: PackResult
) -> Iterator[tuple[Path, str]]:
    """Yield path and text of each of the files."""
    spec, values, target = request.spec, request.values, request.output
    if files.stamp is not None:
        yield files.stamp, f"{target.resolve()}\n"
        yield _get_manifest_path(files.stamp), encode_manifest(packed.manifest).decode()
    if files.depfile is not None:
        made = files.stamp or target
        outputs = (target, made, files.depfile, _get_manifest_path(made))
        inputs = find_inputs(spec, values, request.root, packed.collected.origins, outputs)
        yield files.depfile, format_make_rule(made, inputs)
    if files.name_file is not None:
        yield files.name_file, f"{resolve_pack_name(spec, values)}\n"
    if files.sbom is not None:
        yield files.sbom, render_sbom(packed.manifest, find_explicit_epoch(spec, values))


def _is_previous_pack(target: Path, stamp: Path | None) -> bool:
    """Return whether ``target`` is the pack of the run that wrote ``stamp``."""
    if stamp is None or not stamp.is_file() or not target.exists():
        return False
    return os.fsencode(f"{target.resolve()}\n") == stamp.read_bytes()


def _get_manifest_path(stamp: Path) -> Path:
    """Return the path beside the stamp where the manifest of its pack is kept."""
    return stamp.with_name(f"{stamp.name}.manifest")


def _read_previous_manifest(target: Path, stamp: Path | None) -> Manifest | None:
    """Return the manifest of the pack at ``target`` from the run that wrote ``stamp``, if any."""
    if stamp is None or not _is_previous_pack(target, stamp):
        return None
    path = _get_manifest_path(stamp)
    try:
        return decode_manifest(path.read_bytes()) if path.is_file() else None
    except BundleFixError:
        return None  # another version wrote it


def _select_differences(packed: PackResult, target: Path, previous: Manifest) -> PackResult:
    """Return the result with its differences from the previous pack instead of all its changes."""
    if packed.fixed is None:
        return packed
    actions = list_differences(previous, packed.manifest)
    same = Action(target.name, "made again with the same files")
    applied = replace(packed.fixed.applied, actions=actions or (same,))
    new = {action.path for action in actions}
    origins = {path: o for path, o in packed.collected.origins.items() if path in new}
    return replace(
        packed,
        collected=replace(packed.collected, origins=origins),
        fixed=replace(packed.fixed, applied=applied),
    )


def describe_result(packed: PackResult, target: Path) -> Iterator[str]:
    """Yield the libraries that the closure added, with their sources, and other notes."""
    collected = packed.collected
    if packed.fixed is None:
        yield f"{target}: unchanged"
        return
    for path, origin in collected.origins.items():
        node = collected.bundle.tree.nodes[path]
        if not origin.from_closure or origin.source is None:
            continue
        if isinstance(node, Symlink):
            yield f"{path}: symlink to {node.target}"
            continue
        package = collected.packages.get(origin.source)
        owner = f", package {package.name} {package.version}" if package else ""
        yield f"{path}: from {origin.source}{owner}, needed by {origin.requested_by}"
    yield from (f"note: {remark}" for remark in collected.remarks)
    if packed.debug is not None:
        yield f"debug information: {packed.debug}"
