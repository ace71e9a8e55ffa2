"""``bundle-fix cmake-dir``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

import bundle_fix.cmake
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.options import PATH, define_option, read_defines


@click.command(cls=CommandWithExamples)
@click.option(
    "--closure", type=PATH, metavar="SPEC",
    help="Print the directories of `search` in the [closure] of SPEC instead.",
)  # fmt: skip
@define_option
def cmake_dir(closure: Path | None, defines: tuple[str, ...]) -> int:
    """Print the directory of BundleFixConfig.cmake."""
    directories = [Path(bundle_fix.cmake.__file__).resolve().parent]
    if closure is not None:
        directories = list(_read_search_directories(closure, read_defines(defines)))
    for directory in directories:
        sys.stdout.buffer.write(os.fsencode(f"{directory}\n"))
    return 0


def _read_search_directories(path: Path, defines: dict[str, str]) -> Iterable[Path]:
    """Return the absolute directories in which the closure of a spec is searched first."""
    from bundle_fix.spec.parsing.load import load_spec
    from bundle_fix.spec.variables import resolve_variables, substitute_variables

    spec, root = load_spec(path), path.parent.resolve()
    values = resolve_variables(spec, root, defines, os.environ)
    return [root / substitute_variables(text, values) for text in spec.closure.search]
