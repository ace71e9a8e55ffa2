"""Options of ``check`` and ``diff``: which findings fail, and the format of the report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from msgspec.structs import replace

from bundle_fix.check.registry import find_rule
from bundle_fix.cli.completion import complete_formats, complete_rules
from bundle_fix.cli.options import REPORT_PATH, read_defines
from bundle_fix.cli.policy_options import parse_glibc_version, read_policy
from bundle_fix.cli.renderers import FORMATS
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.policy.policy import AcceptedFinding, CheckPolicy
from bundle_fix.policy.severity import Severity

F = TypeVar("F", bound=Callable[..., object])


glibc_option = click.option(
    "--glibc", metavar="VERSION", help="Set the oldest glibc version of the targets, such as 2.17."
)


def print_schema(ctx: click.Context, _option: click.Parameter, requested: bool) -> None:
    """Print the JSON Schema of the command's report and exit, if that is requested."""
    if not requested:
        return
    from bundle_fix.report.render.json import format_json
    from bundle_fix.report.schemas import SCHEMAS

    sys.stdout.write(format_json(SCHEMAS[ctx.command.name or ""]()))
    ctx.exit()


def _parse_also(
    _ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, Path], ...]:
    """Parse each ``FORMAT=FILE``.

    Raises:
        click.UsageError: The text is not of that form, or the format does not exist.
    """
    outputs = []
    for text in texts:
        kind, _, file = text.partition("=")
        if kind not in FORMATS or file in ("", "-"):
            raise click.UsageError(
                f"--also {escape_unprintable(text)}: expected FORMAT=FILE, such as"
                f" sarif=report.sarif, with one of the formats {', '.join(FORMATS)}"
            )
        outputs.append((kind, Path(file)))
    return tuple(outputs)


def add_gate_options(function: F) -> F:
    """Add ``--fail-on``, ``--ignore`` and the options for the format of the report."""
    options = (
        click.option(
            "--fail-on", type=click.Choice([s.value for s in Severity]), default=None,
            help="Fail on findings of this severity and above (default: error).",
        ),
        click.option(
            "--exit-zero", is_flag=True,
            help="Exit with 0 despite findings; an artifact that cannot be read still exits with"
            " 2.",

        ),
        click.option(
            "--ignore", "ignores", multiple=True, metavar="RULE[:PATH]=REASON",
            shell_complete=complete_rules,
            help="Ignore findings of RULE (a code or name) at paths that match PATH, for REASON;"
            " repeatable.",
        ),
        click.option(
            "--format", "kind", type=click.Choice(FORMATS), default="text",
            help="Set the format of the report (default: text).",
        ),
        click.option(
            "--schema", is_flag=True, is_eager=True, expose_value=False, callback=print_schema,
            help="Print the JSON Schema of the report and exit.",
        ),
        click.option(
            "-o", "--output", type=REPORT_PATH, metavar="FILE",
            help="Write the report to FILE.",
        ),
        click.option(
            "--also", multiple=True, metavar="FORMAT=FILE", callback=_parse_also,
            shell_complete=complete_formats,
            help="Also write the report to FILE in FORMAT; repeatable.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def read_gate_policy(
    spec: Path | None,
    host_provides: tuple[str, ...],
    fail_on: str | None,
    glibc: str | None,
    ignores: tuple[str, ...],
    defines: tuple[str, ...] = (),
) -> CheckPolicy:
    """Return the policy of a spec, extended or overridden by the options.

    Raises:
        click.UsageError: An option is invalid.
        BundleFixError: The spec is invalid.
    """
    if defines and spec is None:
        raise click.UsageError("-D sets a variable of a spec; add --spec")
    policy, _ = read_policy(spec, host_provides, read_defines(defines))
    return replace(
        policy,
        fail_on=Severity(fail_on or policy.fail_on),
        glibc=parse_glibc_version(glibc) or policy.glibc,
        ignore=(*policy.ignore, *map(parse_ignore, ignores)),
    )


def parse_ignore(text: str) -> AcceptedFinding:
    """Parse ``RULE[:PATH]=REASON``; RULE is the code or the name of a rule.

    Raises:
        click.UsageError: The rule, the path after the colon or the reason is missing.
        BundleFixError: The rule does not exist.
    """
    pattern, _, reason = text.partition("=")
    rule, colon, path = pattern.partition(":")
    rule, path, reason = rule.strip(), path.strip(), reason.strip()
    required = {"rule": rule, "path after the colon": path or not colon, "reason": reason}
    for part, value in required.items():
        if not value:
            raise click.UsageError(
                f"--ignore {escape_unprintable(text)}: missing {part}; expected"
                " RULE[:PATH]=REASON, such as 'BF202:bin/old_*=until 2.6'"
            )
    return AcceptedFinding(find_rule(rule, f"--ignore {text}").code, path or "*", reason)
