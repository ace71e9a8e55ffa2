"""Man pages in the man(7) language, one for each command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from bundle_fix import __version__
from manual.commands import Command, Option

WIDTH = 66
"""Characters of an input line; some become several with their escapes."""


def format_man_page(command: Command, others: Iterable[str], date: str) -> str:
    """Return the man page of a command.

    Args:
        command: The command.
        others: The names of the pages to see also.
        date: The date of the page, as YYYY-MM-DD.
    """
    page = get_page_name(command.name)
    lines = [
        f'.TH {page.upper()} 1 "{date}" "bundle-fix {__version__}" "bundle-fix"',
        # Names and options are neither hyphenated nor spread over the line.
        ".nh",
        ".ad l",
        ".SH NAME",
        rf"{_escape(page)} \- {_escape(command.summary)}",
        ".SH SYNOPSIS",
        rf".B {_escape(' '.join(('bundle-fix', command.name)).strip())}",
        _escape(command.arguments),
        ".SH DESCRIPTION",
        *_separate(map(_wrap, command.paragraphs)),
        *_format_commands(command),
        ".SH OPTIONS",
        *(line for option in command.options for line in _format_option(option)),
        ".SH EXIT STATUS",
        *(line for code, text in command.exit_codes for line in (".TP", code, _wrap(text))),
        ".SH EXAMPLES",
        *_separate(_format_example(purpose, line) for purpose, line in command.examples),
        ".SH SEE ALSO",
        " ,\n".join(rf".BR {_escape(name)} (1)" for name in others),
    ]
    return "\n".join(lines) + "\n"


def get_page_name(command: str) -> str:
    """Return the name of the page of a command, as git(1) names its pages."""
    return f"bundle-fix-{command}" if command else "bundle-fix"


def _separate(paragraphs: Iterable[str]) -> Iterator[str]:
    """Yield paragraphs with a break between two of them."""
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        yield paragraph


def _format_commands(command: Command) -> Iterator[str]:
    if command.commands:
        yield ".SH COMMANDS"
    for name, summary in command.commands:
        yield f".TP\n.B {_escape(name)}\n{_escape(summary)}"


def _format_option(option: Option) -> tuple[str, str, str]:
    names = ", ".join(rf"\fB{_escape(name)}\fR" for name in option.names)
    value = rf" \fI{_escape(option.value)}\fR" if option.value else ""
    return ".TP", names + value, _wrap(option.help)


def _format_example(purpose: str, line: str) -> str:
    return (
        f"{_escape(purpose[0].upper() + purpose[1:])}:\n.PP\n.in +4\n.nf\n{_escape(line)}\n.fi\n.in"
    )


def _wrap(text: str) -> str:
    """Return text for several input lines, which roff fills again."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_escape, lines))


def _escape(line: str) -> str:
    r"""Return a line that roff prints as it is.

    Source: groff_char(7); ``\-`` is the hyphen of options, ``\(aq`` the straight apostrophe.
    """
    escaped = line.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    escaped = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in escaped)
    return r"\&" + escaped if escaped.startswith(".") else escaped
