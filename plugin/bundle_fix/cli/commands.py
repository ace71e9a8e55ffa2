"""The table of commands; each command is imported when it runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

import click

from bundle_fix import __version__
from bundle_fix.cli.examples import CommandWithExamples, format_usage_error
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "pack": "make a pack from a spec and check it",
    "init": "write a first spec for an install tree or a pack",
    "fix": "repair a tarball or a directory",
    "check": "check which file each needed library resolves to",
    "tree": "show the libraries that the loader maps, as a tree",
    "why": "show each step of the search for a library",
    "run": "run a program of a pack on a decoy host and report what it loads",
    "diff": "compare two packs and report regressions",
    "inspect": "show what a process or a core file has loaded, and from where",
    "rules": "list the rules of check and diff, or explain one",
    "elf": "print or change the dynamic section of ELF files",
    "patchelf": "change ELF files with the command line of patchelf",
    "schema": "print the JSON Schema of a spec or of a report",
    "fix-tree": "repair the files that a build system installed",
    "cmake-dir": "print the directory of BundleFixConfig.cmake",
    "completion": "print the completion script of a shell",
}
"""Command names and summaries. The module and its function have the same name, with `_` for `-`."""
REQUIRE = "--require="
VERSION, VERBOSE = "--version", ("--verbose", "-v")


class CommandGroup(CommandWithExamples, click.Group):
    """A command group that imports commands lazily; a path without a command means ``fix``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"bundle_fix.cli.{name}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 (for the type checker)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert ``fix`` if the command line is ``bundle-fix [-q …] pack.tar.gz``."""
        if args and args[0].startswith(REQUIRE):
            _require_version(args[0].removeprefix(REQUIRE))
            args = args[1:]
        if len(args) == 2 and VERSION in args and any(word in args for word in VERBOSE):
            _print_versions()
            ctx.exit()
        if args and args[0] not in COMMANDS and any(map(_may_be_path, _find_words(args))):
            args = ["fix", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete a command without importing any, an option, or the artifact of ``fix``."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        commands = [
            CompletionItem(name, help=summary)
            for name, summary in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands or [CompletionItem(incomplete, type="file")]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names.

        Raises:
            click.UsageError: The command does not exist; the message suggests the closest name.
        """
        name = args[0]
        # The names are given here because click suggests only commands that are already imported.
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from bundle_fix.model.suggestions import find_closest

            closest = find_closest(name, COMMANDS)
            message = suggest_closest(f"No such command '{name}'.", name, COMMANDS)
            command = closest and self.get_command(ctx, closest)
            raise click.UsageError(message, click.Context(command or self))
        return super().resolve_command(ctx, args)


def suggest_closest(message: str, word: str, known: Iterable[str]) -> str:
    """Return ``message`` with the known word that is closest to ``word``, if one is close."""
    from bundle_fix.model.suggestions import find_closest

    closest = find_closest(word, known)
    return message if closest is None else f"{message} Did you mean '{closest}'?"


def describe_click_error(error: click.ClickException) -> str:
    """Return the message of an error of the command line, with a suggestion and an example."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        # One suggestion in the same words for all versions of click, and for all kinds of names.
        name, known = error.option_name, error.possibilities or ()
        message = suggest_closest(f"No such option '{name}'.", name, known)
    return format_usage_error(message, error) if isinstance(error, click.UsageError) else message


def _find_words(args: list[str]) -> list[str]:
    """Return the arguments that may be the artifact of a command line without a command.

    If an option comes first, each later word may be its value or the artifact. Otherwise only
    the first word counts, so that a misspelled command with a path after it is reported.
    """
    if not args[0].startswith("-"):
        return args[:1]
    return [arg for arg in args if not arg.startswith("-")]


def _require_version(version: str) -> None:
    """Ensure that this is the version with which a build was configured.

    Raises:
        BundleFixError: This is another version.
    """
    if version != __version__:
        raise BundleFixError(
            f"this is bundle-fix {__version__}, but the build was configured with {version}",
            hint="run cmake again",
        )


def _print_versions() -> None:
    """Print what ``--version --verbose`` asks for."""
    from bundle_fix.cli.version import list_versions

    for line in list_versions():
        click.echo(line)


def _may_be_path(text: str) -> bool:
    return "/" in text or "." in text or os.path.lexists(text)


@click.group(
    "bundle-fix",
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(
    __version__, prog_name="bundle-fix", message="%(prog)s %(version)s",
    help="Print the version; with --verbose also those of used libraries and programs.",
)  # fmt: skip
def group() -> None:
    """Make, repair and check packs of native Linux software.

    A pack is a tarball or a directory with programs and the libraries that they need.
    "bundle-fix PACK.tar.gz" alone means "bundle-fix fix PACK.tar.gz".

    Exit code: 0 success, 1 findings, 2 invalid request, 130 interrupted.
    """
