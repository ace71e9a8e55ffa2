"""``bundle-fix init``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.options import (
    ArtifactPath,
    limit_options,
    output_value,
    say,
)
from bundle_fix.cli.progress import progress_shown
from bundle_fix.draft.spec import first_spec
from bundle_fix.model.errors import BundleFixError
from bundle_fix.storage.atomic import pending_file


@click.command(short_help="write a first spec for a build's install tree or a pack")
@click.argument("artifact", type=ArtifactPath, metavar="DIR_OR_ARTIFACT")
@click.option(
    "-o", "--output", type=output_value, default="bundle.toml", metavar="SPEC",
    help="The spec to write (default: bundle.toml); '-' prints it.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a spec that exists.")
@limit_options
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def init(artifact: Path, output: Path, force: bool, limits: Limits, quiet: bool) -> int:
    """Write a first spec that packs DIR_OR_ARTIFACT again.

    DIR_OR_ARTIFACT is the folder that a build installs to, or a pack: a tarball, a wheel, a folder.
    The spec names its programs, its libraries and its other files by folder, and for what they need
    besides says what is bundled from this machine and what is left to the host. An archive has to
    be unpacked before its spec is used.
    """
    to_stdout = str(output) == "-"
    if not to_stdout and output.is_dir():
        output /= "bundle.toml"
    if not to_stdout and output.exists() and not force:
        raise BundleFixError(
            "there is a spec already", where=str(output), hint="--force writes over it"
        )
    spec = Path("bundle.toml") if to_stdout else output
    with progress_shown(quiet=quiet, color="auto") as progress:
        text = first_spec(artifact, spec, str(artifact), limits, progress)
    if to_stdout:
        sys.stdout.write(text)
        return 0
    if not output.absolute().parent.is_dir():
        raise BundleFixError("there is no such folder", where=str(output.parent))
    with pending_file(output) as pending:
        pending.file.write(text.encode())
        pending.commit()
    sys.stdout.write(f"{output}\n")
    root = "" if artifact.is_dir() else " -C FOLDER   # the folder that it is unpacked to"
    say(f"read its comments; then: bundle-fix pack {output}{root}", quiet=quiet)
    return 0
