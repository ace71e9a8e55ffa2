"""``bundle-fix fix --repair-wheel``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundle_fix.cli.fix_result import print_result
from bundle_fix.cli.progress import show_progress
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.fix import Options


def repair_wheel_file(
    wheel: Path,
    directory: Path | None,
    included: tuple[str, ...],
    options: Options,
    *,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Repair a wheel, print the changes and the path of the result, and return the exit code.

    Raises:
        click.UsageError: There is no output directory.
    """
    from bundle_fix.pipelines.wheels.repair import repair_wheel

    if directory is None:
        raise click.UsageError("--repair-wheel requires -o DIR, the directory of the result")
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise BundleFixError(
            f"cannot create the output directory: {error.strerror}", where=str(directory)
        ) from error
    with show_progress(quiet=quiet, color=color) as progress:
        result = repair_wheel(wheel, directory, options, included, progress)
    print_result(wheel, result, dry_run=False, quiet=quiet, verbose=verbose, color=color)
    if result.written is not None:
        sys.stdout.write(f"{result.written}\n")
    return 1 if result.failed else 0
