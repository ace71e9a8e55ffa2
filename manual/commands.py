"""The commands as click has them, for both manuals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc

import click
from msgspec import Struct

from bundle_fix.cli.commands import COMMANDS, group
from bundle_fix.cli.examples import EXAMPLES, Example

EXIT_CODES = re.compile(r"Exit code: (?P<codes>0 .*)", re.DOTALL)
"""The paragraph of a help text that lists the exit codes."""


class Option(Struct, frozen=True):
    """An option: its names as one writes them, the placeholder of its value, and its help."""

    names: tuple[str, ...]
    value: str
    help: str


class Command(Struct, frozen=True):
    """A command for a manual.

    Attributes:
        name: empty for the program without a command.
        summary: what it does, in a few words.
        arguments: the placeholders after the name, such as ``[OPTIONS] ARTIFACT...``.
        paragraphs: the help text without the exit codes.
        exit_codes: each code with its meaning.
        options: its options in the order of the help.
        commands: the names and summaries of the program's commands; empty for a command.
        examples: command lines, the most common one first.
    """

    name: str
    summary: str
    arguments: str
    paragraphs: tuple[str, ...]
    exit_codes: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]
    examples: tuple[Example, ...]


def read_commands() -> Iterator[Command]:
    """Yield the program itself, then each command in the order of its help."""
    root = click.Context(group, info_name="bundle-fix", **group.context_settings)
    yield _read_command(root, "", "make, repair and check packs of native Linux software")
    for name, summary in COMMANDS.items():
        command = group.get_command(root, name)
        assert command is not None  # noqa: S101 (its name is in the table)
        yield _read_command(click.Context(command, root, name), name, summary)


def _read_command(ctx: click.Context, name: str, summary: str) -> Command:
    text = cleandoc(ctx.command.help or "")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    matches = filter(None, map(EXIT_CODES.fullmatch, paragraphs))
    codes = next((match["codes"] for match in matches), "0 success, 2 invalid request")
    return Command(
        name=name,
        summary=summary,
        arguments=" ".join(ctx.command.collect_usage_pieces(ctx)),
        paragraphs=tuple(p for p in paragraphs if not EXIT_CODES.fullmatch(p)),
        exit_codes=tuple(_split_exit_codes(codes)),
        options=tuple(_read_options(ctx)),
        commands=() if name else tuple(COMMANDS.items()),
        examples=EXAMPLES[name or "bundle-fix"],
    )


def _split_exit_codes(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"[,;] (?=\d+ )", text.removesuffix(".")):
        code, _, meaning = part.partition(" ")
        yield code, meaning


def _read_options(ctx: click.Context) -> Iterator[Option]:
    for param in ctx.command.params:
        if isinstance(param, click.Option):
            names = (*param.opts, *param.secondary_opts)
            yield Option(names, _describe_value(param), param.help or "")
    # click makes this option once for the first context that asks for it, whatever its names are.
    yield Option(tuple(ctx.help_option_names), "", "Show this message and exit.")


def _describe_value(option: click.Option) -> str:
    """Return the placeholder of a value, its choices, or nothing for a flag."""
    if option.is_flag or option.count:
        return ""
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    return option.type.name.upper()
