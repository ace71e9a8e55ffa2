"""Options that describe the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.options import PATH
from bundle_fix.loader.hosts.cpu import list_levels_up_to
from bundle_fix.loader.hosts.host import Environment
from bundle_fix.pipelines.target import Target

F = TypeVar("F", bound=Callable[..., object])
HOSTILE = "hostile"
VARIABLES = {"LD_LIBRARY_PATH": "library_path", "LD_PRELOAD": "preload"}
"""Environment variables of ld.so(8) that the loader model follows, with the fields for them."""


def add_target_options(function: F) -> F:
    """Add ``--host``, ``--env`` and ``--cpu``."""
    function = click.option(
        "--cpu", "level", metavar="LEVEL",
        help="Set the target's processor level for glibc-hwcaps, such as x86-64-v3"
        " (default: baseline; with --host, the level of this machine).",
    )(function)  # fmt: skip
    function = click.option(
        "--env", "variables", multiple=True, metavar="hostile|NAME=VALUE",
        help="Set LD_LIBRARY_PATH or LD_PRELOAD of the target; 'hostile' is an LD_LIBRARY_PATH with"
        " another copy of each library; repeatable.",
    )(function)  # fmt: skip
    return click.option(
        "--host", "host_root", type=PATH, metavar="ROOT",
        help="Use a root file system (a directory or a tarball) as the target, or / for this"
        " machine (default: a host with an older copy of each library).",
    )(function)  # fmt: skip


def read_target(
    host: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    provides: tuple[str, ...],
    limits: Limits,
    *,
    like_this_machine: bool = False,
) -> Target:
    """Return the target that the options describe.

    Raises:
        click.UsageError: The loader does not follow a variable of ``--env``.
        BundleFixError: The processor level is unknown.
    """
    fields: dict[str, str] = {}
    for text in variables:
        name, _, value = text.partition("=")
        if text != HOSTILE and (name not in VARIABLES or "=" not in text):
            raise click.UsageError(
                f"--env {text}: expected 'hostile', or {' or '.join(VARIABLES)} with a value"
            )
        if text != HOSTILE:
            fields[VARIABLES[name]] = value
    # Raises for an unknown level, before an artifact is read.
    list_levels_up_to(level, "")
    environment = Environment(hostile=HOSTILE in variables, **fields)
    return Target(host, environment, level, provides, limits, like_this_machine)
