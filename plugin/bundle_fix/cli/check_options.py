"""What makes gates of ``check`` and ``diff``: which findings fail, and how they are reported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from msgspec.structs import replace

from bundle_fix.check.context import Expectations, Ignore
from bundle_fix.check.findings import SEVERITIES
from bundle_fix.check.registry import rule_named
from bundle_fix.cli.options import output_value, read_defines
from bundle_fix.cli.policy_options import glibc_baseline, read_expectations
from bundle_fix.cli.renderers import FORMATS
from bundle_fix.model.printable import escape_unprintable

F = TypeVar("F", bound=Callable[..., object])


def _print_schema(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from bundle_fix.report.render.json import to_json
    from bundle_fix.report.schemas import SCHEMAS

    sys.stdout.write(to_json(SCHEMAS[ctx.command.name or ""]()))
    ctx.exit()


def _parse_also(
    _ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """Each ``FORMAT=FILE`` as a format and a file.

    Raises:
        click.UsageError: it is not of that form, or there is no such format.
    """
    found = []
    for text in texts:
        kind, _, file = text.partition("=")
        if kind not in FORMATS or not file:
            raise click.UsageError(
                f"--also {escape_unprintable(text)}: it takes FORMAT=FILE, such as sarif=report.sarif,"
                f" with one of the formats {', '.join(FORMATS)}"
            )
        found.append((kind, Path(file)))
    return tuple(found)


def gate_options(function: F) -> F:
    """``--fail-on`` and what else says which findings fail, with the format of the report."""
    options = (
        click.option(
            "--fail-on", type=click.Choice(SEVERITIES), default=None,
            help="The mildest severity that fails (default: error).",
        ),
        click.option(
            "--exit-zero", is_flag=True,
            help="Exit with 0 whatever is found; what cannot be read still exits with 2.",
        ),
        click.option(
            "--ignore", "ignores", multiple=True, metavar="RULE[:PATH]=REASON",
            help="Accept findings of RULE (its code or name) at paths like PATH, and say why;"
            " repeatable.",
        ),
        click.option(
            "--glibc", metavar="VERSION", help="The oldest glibc of the targets, such as 2.17."
        ),
        click.option(
            "--format", "kind", type=click.Choice(FORMATS), default="text",
            help="How to report (default: text).",
        ),
        click.option(
            "--schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema,
            help="Print the JSON Schema of the report, and exit.",
        ),
        click.option(
            "-o", "--output", type=output_value, metavar="FILE",
            help="Write the report to FILE.",
        ),
        click.option(
            "--also", multiple=True, metavar="FORMAT=FILE", callback=_parse_also,
            help="Write the report to FILE in another FORMAT as well, of the same run; repeatable.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def gate_expectations(
    spec: Path | None,
    host_provides: tuple[str, ...],
    fail_on: str | None,
    glibc: str | None,
    ignores: tuple[str, ...],
    defines: tuple[str, ...] = (),
) -> Expectations:
    """What a spec says, with what the options say besides or in its place.

    Raises:
        click.UsageError: an option is wrong.
        BundleFixError: the spec is wrong.
    """
    if defines and spec is None:
        raise click.UsageError("-D sets a variable of a spec: say --spec as well")
    expectations, _ = read_expectations(spec, host_provides, read_defines(defines))
    return replace(
        expectations,
        fail_on=fail_on or expectations.fail_on,
        glibc=glibc_baseline(glibc) or expectations.glibc,
        ignore=(*expectations.ignore, *map(parse_ignore, ignores)),
    )


def parse_ignore(text: str) -> Ignore:
    """``RULE[:PATH]=REASON`` of the command line; RULE is a rule's code or its name.

    Raises:
        click.UsageError: it is not of that form, or gives no reason.
        BundleFixError: there is no such rule.
    """
    what, _, reason = text.partition("=")
    rule, colon, path = what.partition(":")
    rule, path, reason = rule.strip(), path.strip(), reason.strip()
    lacks = {"a rule": rule, "a path behind the colon": path or not colon, "a reason": reason}
    for lack, there in lacks.items():
        if not there:
            raise click.UsageError(
                f"--ignore {escape_unprintable(text)}: it lacks {lack}; it takes RULE[:PATH]=REASON, such as"
                " 'BF202:bin/old_*=until 2.6'"
            )
    return Ignore(rule_named(rule, f"--ignore {text}").code, path or "*", reason)
