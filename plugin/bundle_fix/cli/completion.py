"""``bundle-fix completion``, and completers of values that are neither paths nor choices."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bundle_fix.cli.examples import CommandWithExamples

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BUNDLE_FIX_COMPLETE"
"""The environment variable with which the script asks for completions; click derives its name."""


@click.command(cls=CommandWithExamples)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script with which SHELL (bash, zsh or fish) completes bundle-fix.

    It completes commands, options, paths, formats, editors and rules. Bash must be 4.4 or newer.
    Packages install these scripts below share/, where the shells find those of /usr by themselves.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click has a class for each of SHELLS)
    completer = kind(ctx.find_root().command, {}, "bundle-fix", VARIABLE)
    # BashComplete.source() runs bash to read its version; the script does not depend on it.
    sys.stdout.write(ShellComplete.source(completer))
    return 0


def complete_rules(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the codes of rules that begin with ``incomplete``, with the names of the rules."""
    from click.shell_completion import CompletionItem

    from bundle_fix.check.registry import ALL_RULES

    return [
        CompletionItem(rule.code, help=rule.name)
        for rule in ALL_RULES
        if rule.code.startswith(incomplete.upper())
    ]


def complete_schemas(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of schemas that begin with ``incomplete``."""
    from bundle_fix.report.schemas import SCHEMAS

    return [name for name in SCHEMAS if name.startswith(incomplete)]


def complete_formats(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the beginnings of ``FORMAT=FILE``."""
    from bundle_fix.cli.renderers import FORMATS

    return [f"{name}=" for name in FORMATS if name.startswith(incomplete)]
