"""``bundle-fix init``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.check.wording import join_names
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import OUTPUT_PATH, PATH, print_message
from bundle_fix.cli.progress import show_progress
from bundle_fix.draft.spec import draft_spec
from bundle_fix.draft.text import format_spec
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.storage.atomic import create_pending_file


@click.command(cls=CommandWithExamples)
@click.argument("artifact", type=PATH, metavar="DIR_OR_ARTIFACT")
@click.option(
    "-o", "--output", type=OUTPUT_PATH, default="bundle.toml", metavar="SPEC",
    help="Write the spec to SPEC (default: bundle.toml); '-' is stdout.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing spec.")
@add_limit_options
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def init(artifact: Path, output: Path, force: bool, limits: Limits, quiet: bool) -> int:
    """Write a first spec that packs DIR_OR_ARTIFACT again.

    DIR_OR_ARTIFACT is an install tree or a pack: a tarball, a wheel or a directory. The spec lists
    its programs, libraries and other files by directory. For other needed libraries it lists which
    ones are bundled from this machine and which ones the host provides. Unpack an archive before
    you use its spec.
    """
    to_stdout = str(output) == "-"
    if not to_stdout and output.is_dir():
        output /= "bundle.toml"
    if not to_stdout and output.exists() and not force:
        raise BundleFixError(
            "the spec already exists", where=str(output), hint="use --force to overwrite it"
        )
    spec = Path("bundle.toml") if to_stdout else output
    with show_progress(quiet=quiet, color="auto") as progress:
        draft = draft_spec(artifact, spec, str(artifact), limits, progress)
    text = format_spec(draft)
    if to_stdout:
        sys.stdout.write(text)
        return 0
    if not output.absolute().parent.is_dir():
        raise BundleFixError("no such directory", where=str(output.parent))
    with create_pending_file(output) as pending:
        pending.file.write(text.encode())
        pending.commit()
    sys.stdout.write(f"{output}\n")
    if draft.needs.missing:
        names = escape_unprintable(join_names(draft.needs.missing))
        print_message(f"not found on this machine, so left to the host: {names}", quiet=quiet)
    print_message(_describe_next_step(artifact, output), quiet=quiet)
    return 0


def _describe_next_step(artifact: Path, spec: Path) -> str:
    """Return what to do with a spec, as a command line that can be copied."""
    name = escape_unprintable(shlex.quote(str(spec)))
    if artifact.is_dir():
        return f"Review its comments, then make and check the pack: bundle-fix pack {name}"
    return (
        f"Review its comments and unpack {escape_unprintable(str(artifact))}, then make and check"
        f" the pack: bundle-fix pack {name} -C TOP_DIRECTORY"
    )
