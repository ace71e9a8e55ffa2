"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from bundle_fix.report.text import Paint

F = TypeVar("F", bound=Callable[..., object])

ArtifactPath = click.Path(path_type=Path)

spec_option = click.option(
    "--spec", type=click.Path(path_type=Path), metavar="SPEC",
    help="A bundle.toml that says what to expect of the pack and its target.",
)  # fmt: skip
host_option = click.option(
    "--host-provides", multiple=True, metavar="NAME",
    help="A library that the target has (a pattern such as 'libjvm.so'); repeatable.",
)  # fmt: skip
force_option = click.option(
    "--force", is_flag=True, help="Write the output even if the check of it fails."
)
editor_option = click.option(
    "--editor", type=click.Choice(["auto", "inplace", "lief", "patchelf"]), default=None,
    help="The ELF editor; 'auto' takes the one that does least.",
)  # fmt: skip


def talk_options(function: F) -> F:
    """``--quiet``, ``--verbose`` and ``--color``, which every command has."""
    function = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")(function)
    function = click.option(
        "-v", "--verbose", is_flag=True, help="Say what was done and list everything."
    )(function)
    return click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto",
        help="Colour the report; 'auto' does on a terminal, unless NO_COLOR is set.",
    )(function)  # fmt: skip


def painter(color: str, *, is_terminal: bool) -> Paint:
    """What colours words: ANSI codes where they are wanted, nothing elsewhere."""
    wanted = color == "always" or (
        color == "auto" and is_terminal and not os.environ.get("NO_COLOR")
    )
    return (lambda text, name: click.style(text, fg=name, bold=True)) if wanted else _plain


def _plain(text: str, _colour: str) -> str:
    return text


def say(text: str, *, quiet: bool) -> None:
    """Print talk, as opposed to results, to stderr."""
    if not quiet:
        sys.stderr.write(f"{text}\n")
