"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bundle_fix.elf.edit.orders import ORDERS
from bundle_fix.elf.lief_library import require_editor
from bundle_fix.model.errors import BundleFixError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from click.types import FuncParamType

    from bundle_fix.collect.libraries.build_machine import LibrarySources
    from bundle_fix.report.render.causes_text import Paint

    # Generic in newer versions of click only.
    TextType = FuncParamType[str, object]
else:
    from click.types import FuncParamType as TextType

F = TypeVar("F", bound=Callable[..., object])


def parse_text(text: str) -> str:
    """Return a value that must not be empty, as that of an unset variable of a script is.

    Raises:
        click.BadParameter: The value is empty.
    """
    if not text:
        raise click.BadParameter("it is empty; check that the variable with its value is set")
    return text


def parse_path(text: str) -> Path:
    """Return the path; an empty one is an error, because `Path` makes it the working directory.

    Raises:
        click.BadParameter: The value is empty.
    """
    return Path(parse_text(text))


def parse_output_path(text: str) -> Path:
    """Return the value of ``-o``.

    Raises:
        BundleFixError: The value ends with a slash, but the directory does not exist.
        click.BadParameter: The value is empty.
    """
    parse_text(text)
    if text.endswith("/") and not Path(text).is_dir():
        raise BundleFixError(
            "no such directory", where=text, hint="create it, or omit the '/' to write a file"
        )
    return Path(text)


def parse_artifact_output(text: str) -> Path:
    """Return the value of ``-o`` of a command that writes an artifact; see `parse_output_path`.

    Raises:
        BundleFixError: The value is ``-``. What was written to a pipe cannot be checked again, and
            a reader would get a part of it if the command fails.
    """
    if text == "-":
        raise BundleFixError(
            "cannot write the output to stdout: it is checked before it gets its name",
            hint="give a file or a directory; './-' is a file named '-'",
        )
    return parse_output_path(text)


def parse_report_path(text: str) -> Path | None:
    """Return the value of ``-o`` of a report; None for ``-``, which is stdout."""
    return None if text == "-" else parse_output_path(text)


def _parse_editor(
    _context: click.Context, _option: click.Parameter, editor: str | None
) -> str | None:
    """Return the value of ``--editor`` if this machine has the editor."""
    require_editor(editor)
    return editor


class PathType(TextType):
    """A type whose values a shell completes as paths.

    Attributes:
        func: returns the value of a text.
        kind: ``file`` to complete paths, ``dir`` to complete directories only.
    """

    def __init__(self, parse: Callable[[str], object], kind: str = "file") -> None:
        super().__init__(parse)
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Let the shell complete the path."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self.kind)]


PATH = PathType(parse_path)
DIRECTORY = PathType(parse_path, "dir")
PATH_TEXT = PathType(parse_text)
OUTPUT_PATH = PathType(parse_output_path)
ARTIFACT_OUTPUT = PathType(parse_artifact_output)
REPORT_PATH = PathType(parse_report_path)

spec_option = click.option(
    "--spec", type=PATH, metavar="SPEC",
    help="Read the requirements of the pack and its target from SPEC, a bundle.toml file.",
)  # fmt: skip
host_option = click.option(
    "--host-provides", multiple=True, metavar="NAME",
    help="Assume that the target provides libraries that match NAME, such as 'libjvm.so';"
    " repeatable.",
)  # fmt: skip
define_option = click.option(
    "-D", "defines", multiple=True, metavar="NAME=VALUE",
    help="Set a variable or an option of the spec; @FILE reads one NAME=VALUE per line;"
    " repeatable.",
)  # fmt: skip
search_option = click.option(
    "--search", multiple=True, metavar="DIR",
    help="Search DIR for libraries of [closure], after the directories of the spec; @FILE reads one"
    " DIR per line; repeatable.",
)  # fmt: skip
sysroot_option = click.option(
    "--sysroot", type=DIRECTORY, metavar="DIR",
    help="Search the root file system DIR for libraries of [closure] instead of this machine's"
    " default directories.",
)  # fmt: skip
host_like_this_option = click.option(
    "--host-like-this", is_flag=True,
    help="Assume that the target provides the libraries in this machine's default directories.",
)  # fmt: skip
force_option = click.option(
    "--force", is_flag=True, help="Write the output even if its check fails."
)
editor_option = click.option(
    "--editor", type=click.Choice([*ORDERS]), default=None, callback=_parse_editor,
    help="Select the ELF editor; 'auto' tries each in this order, 'inplace' slot and table.",
)  # fmt: skip


def add_message_options(function: F) -> F:
    """Add ``--quiet``, ``--verbose`` and ``--color``."""
    function = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")(function)
    function = click.option(
        "-v", "--verbose", is_flag=True, help="Print details and complete lists."
    )(function)
    return click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto",
        help="Colour the report; 'auto' colours it on a terminal unless NO_COLOR is set.",
    )(function)  # fmt: skip


def choose_painter(color: str, *, is_terminal: bool) -> Paint:
    """Return the function that colours words with ANSI codes, or leaves them plain."""
    # https://no-color.org: an empty NO_COLOR has no effect.
    in_color = color == "always" or (
        color == "auto" and is_terminal and not os.environ.get("NO_COLOR")
    )
    return (lambda text, name: click.style(text, fg=name, bold=True)) if in_color else _leave_plain


def _leave_plain(text: str, _colour: str) -> str:
    return text


def print_message(text: str, *, quiet: bool) -> None:
    """Print a message to stderr, unless ``quiet`` is set; results go to stdout."""
    if not quiet:
        sys.stderr.write(f"{text}\n")


def read_defines(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the values of ``-D`` by name.

    Raises:
        click.UsageError: A definition is not of the form NAME=VALUE.
    """
    defines = {}
    for text in expand_files(texts):
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"-D {text}: missing '='; expected NAME=VALUE")
        defines[name] = value
    return defines


def read_sources(search: tuple[str, ...], sysroot: Path | None) -> LibrarySources:
    """Return the places of ``--search`` and ``--sysroot``.

    Raises:
        BundleFixError: The sysroot is not a directory.
    """
    from bundle_fix.collect.libraries.build_machine import LibrarySources

    if sysroot is not None and not sysroot.is_dir():
        raise BundleFixError("no such directory", where=str(sysroot), hint="check --sysroot")
    directories = tuple(Path.cwd() / parse_path(text) for text in expand_files(search))
    return LibrarySources(directories, sysroot and sysroot.resolve())


def expand_files(texts: tuple[str, ...]) -> Iterator[str]:
    """Yield the values of an option; ``@FILE`` stands for the lines of FILE."""
    for text in texts:
        if text.startswith("@"):
            lines = os.fsdecode(parse_path(text[1:]).read_bytes()).splitlines()
            yield from (line for line in lines if line)
        else:
            yield text
