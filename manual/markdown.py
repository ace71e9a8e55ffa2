"""The page docs/commands.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from manual.commands import Command, Option

INTRODUCTION = """\
# Commands

`make docs` writes this page and the man pages from the commands themselves.
`bundle-fix COMMAND --help` prints the same on a terminal.
"""


def format_commands_page(commands: Iterable[Command]) -> str:
    """Return the page of all commands as Markdown."""
    return "\n".join([INTRODUCTION, *map(_format_command, commands)])


def _format_command(command: Command) -> str:
    title = f"bundle-fix {command.name}".strip()
    return "\n".join(_format_lines(command, title))


def _format_lines(command: Command, title: str) -> Iterator[str]:
    yield f"## {title}\n\n    {title} {command.arguments}\n"
    for paragraph in command.paragraphs:
        yield f"{_escape(paragraph)}\n"
    if command.commands:
        yield "| command | |\n|---|---|"
        for name, summary in command.commands:
            yield f"| [{name}](#bundle-fix-{name}) | {_escape(summary)} |"
        yield ""
    yield "| option | |\n|---|---|"
    yield from map(_format_option, command.options)
    yield ""
    codes = "; ".join(f"{code} {_escape(text)}" for code, text in command.exit_codes)
    yield f"Exit code: {codes}.\n\nExamples:\n"
    for example in command.examples:
        yield f"    # {example.purpose}\n    {example.line}"
    yield ""


def _format_option(option: Option) -> str:
    value = f" {option.value}" if option.value else ""
    names = ", ".join(f"`{name}`" for name in option.names[:-1])
    names += f"{', ' if names else ''}`{option.names[-1]}{value}`"
    return f"| {names.replace('|', chr(92) + '|')} | {_escape(option.help)} |"


def _escape(text: str) -> str:
    """Return text in which Markdown finds neither HTML, emphasis, links nor table cells."""
    for mark in "\\<*_[]|`":
        text = text.replace(mark, f"\\{mark}")
    return text
