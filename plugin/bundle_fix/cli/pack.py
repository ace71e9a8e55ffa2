"""``bundle-fix pack``."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from bundle_fix.artifacts.output import pending_file, set_aside
from bundle_fix.cli.fix import tell
from bundle_fix.cli.options import (
    define_option,
    editor_option,
    force_option,
    host_option,
    read_defines,
    say,
    talk_options,
)
from bundle_fix.errors import BundleFixError
from bundle_fix.expectations import expectations_of
from bundle_fix.fix import Options
from bundle_fix.inputs import inputs_of, rule
from bundle_fix.pack import output_path
from bundle_fix.pack import pack as make_pack
from bundle_fix.report.printable import printable
from bundle_fix.spec.load import load_spec
from bundle_fix.spec.variables import require_values, resolve_variables


@click.command(short_help="make a pack from a spec, verify it, print its path")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-C",
    "--root",
    type=click.Path(path_type=Path),
    metavar="ROOT",
    help="The folder that the spec's paths are relative to (default: the spec's own).",
)
@define_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="The pack to write, or the folder to write it in (default: the working directory).",
)
@click.option(
    "--depfile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to FILE, as a rule for make, all that the pack was made from.",
)
@click.option(
    "--stamp",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the pack's path to FILE, which --depfile then speaks of; a folder that the last"
    " run made is replaced.",
)
@force_option
@host_option
@editor_option
@talk_options
def pack(
    spec: Path,
    root: Path | None,
    defines: tuple[str, ...],
    output: Path | None,
    depfile: Path | None,
    stamp: Path | None,
    force: bool,
    host_provides: tuple[str, ...],
    editor: str | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Make the pack that SPEC (a bundle.toml) describes.

    Everything it names is collected, every object gets its RUNPATH, the pack is written, read back
    and checked against a hostile host; only if that passes does it take its name.
    """
    loaded = load_spec(spec)
    folder = (root or spec.parent).resolve()
    if not folder.is_dir():
        raise BundleFixError("there is no such folder", where=str(root), hint="-C names the root")
    values = resolve_variables(loaded, folder, read_defines(defines), os.environ)
    require_values(loaded, values)
    expectations = expectations_of(loaded, values)
    expectations = replace(expectations, host=(*expectations.host, *host_provides))
    options = Options(expectations, editor=editor or loaded.runpath.editor, force=force)
    target = output_path(loaded, values, output)
    with set_aside(target) if _made_before(target, stamp) else nullcontext():
        packed = make_pack(loaded, values, folder, target, options)
    for path, origin in packed.origins.items():
        if origin.from_closure and origin.source is not None:
            line = f"{path}: from {origin.source}, needed by {origin.asked}"
            say(printable(line), quiet=quiet)
    tell(target, packed.mended, dry_run=False, quiet=quiet, verbose=verbose, color=color)
    if packed.mended.written is not None:
        if stamp is not None:
            _write(stamp, f"{target.resolve()}\n")
        if depfile is not None:
            made = (target, stamp or target, depfile)
            inputs = inputs_of(loaded, values, folder, packed.origins, made)
            _write(depfile, rule(stamp or target, inputs))
        sys.stdout.write(f"{packed.mended.written}\n")
    return 1 if packed.mended.failed else 0


def _made_before(target: Path, stamp: Path | None) -> bool:
    """Whether a folder at ``target`` is the pack of an earlier run, as its stamp says."""
    if stamp is None or not stamp.is_file() or not target.is_dir():
        return False
    return os.fsencode(f"{target.resolve()}\n") == stamp.read_bytes()


def _write(path: Path, text: str) -> None:
    with pending_file(path) as pending:
        pending.file.write(os.fsencode(text))
        pending.commit()
