"""``bundle-fix fix``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.fix_result import print_result
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    ARTIFACT_OUTPUT,
    PATH,
    add_message_options,
    editor_option,
    force_option,
    host_option,
    parse_text,
    print_message,
    spec_option,
)
from bundle_fix.cli.policy_options import read_policy
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.repair_wheel import repair_wheel_file
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.fix import (
    Options,
    dry_run_fix,
    fix_artifact,
    get_default_output,
    is_same_path,
)


@click.command(cls=CommandWithExamples)
@click.argument("artifact", type=PATH)
@click.option(
    "-o",
    "--output",
    type=ARTIFACT_OUTPUT,
    metavar="OUT",
    help="Write the result to OUT, a file or a directory (default: NAME.fixed.EXT beside"
    " ARTIFACT).",
)
@click.option("--in-place", is_flag=True, help="Replace ARTIFACT with the result.")
@click.option(
    "--repair-wheel", is_flag=True,
    help="Bundle the libraries that targets of a wheel may not have, and write it with the best"
    " manylinux or musllinux tag to the directory OUT.",
)  # fmt: skip
@click.option(
    "--include", multiple=True, metavar="NAME",
    help="With --repair-wheel, also bundle the library NAME or the file at the path NAME, which"
    " the wheel opens by name; repeatable.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the changes without writing anything.")
@click.option(
    "--move-libraries",
    type=parse_text,
    metavar="DIR",
    help="Move libraries that are beside programs to DIR of the pack and leave symlinks.",
)
@force_option
@spec_option
@host_option
@editor_option
@add_limit_options
@add_message_options
def fix(
    artifact: Path,
    output: Path | None,
    in_place: bool,
    repair_wheel: bool,
    include: tuple[str, ...],
    dry_run: bool,
    move_libraries: str | None,
    force: bool,
    spec: Path | None,
    host_provides: tuple[str, ...],
    editor: str | None,
    limits: Limits,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Repair a tarball or a directory so that its programs load the bundled libraries.

    The repair changes only what a finding of 'check' asks for: it adds missing soname symlinks,
    adds and removes RUNPATH entries and repairs file modes. The output is written only if the check
    of the result passes.

    With --repair-wheel, prepare a wheel for other machines instead.

    Exit code: 0 success, 1 the check failed, 2 invalid request.
    """
    if in_place and output is not None:
        raise click.UsageError("--in-place and -o exclude each other")
    if include and not repair_wheel:
        raise click.UsageError("--include requires --repair-wheel")
    policy, pinned = read_policy(spec, host_provides)
    if repair_wheel:
        if in_place or dry_run or move_libraries:
            raise click.UsageError(
                "--repair-wheel excludes --in-place, --dry-run and --move-libraries"
            )
        options = Options(policy, pinned, editor or "auto", force, limits=limits)
        return repair_wheel_file(
            artifact, output, include, options, quiet=quiet, verbose=verbose, color=color
        )
    # This repair does not change the glibc that a wheel needs: 'check' reports a wrong tag.
    policy = replace(policy, trust_wheel_tag=True)
    options = Options(policy, pinned, editor or "auto", force, move_libraries or "", limits)
    if dry_run:
        with show_progress(quiet=quiet, color=color) as progress:
            result = dry_run_fix(artifact, options, progress)
    else:
        if output is not None and output.is_dir():
            output /= Path(os.path.realpath(artifact)).name
        target = artifact if in_place else output or get_default_output(artifact)
        if not in_place and is_same_path(target, artifact):
            raise BundleFixError(
                "the output is the input", where=str(target), hint="use --in-place to replace it"
            )
        with show_progress(quiet=quiet, color=color) as progress:
            result = fix_artifact(artifact, target, options, progress)
    print_result(artifact, result, dry_run=dry_run, quiet=quiet, verbose=verbose, color=color)
    if dry_run:
        print_message("dry run: nothing was written", quiet=quiet)
    elif result.written is not None:
        sys.stdout.write(f"{result.written}\n")
    return 1 if result.failed else 0
