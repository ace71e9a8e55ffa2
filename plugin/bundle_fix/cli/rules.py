"""``bundle-fix rules``."""

from __future__ import annotations

import sys

import click

from bundle_fix.check.registry import ALL_RULES, find_rule
from bundle_fix.cli.completion import complete_rules
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.report.check_report import describe_rules
from bundle_fix.report.render.rules import render_rule, render_rule_list, render_rules_page


@click.command(cls=CommandWithExamples)
@click.argument("codes", nargs=-1, metavar="[CODE...]", shell_complete=complete_rules)
@click.option(
    "--format", "kind", type=click.Choice(["text", "json", "markdown"]), default="text",
    help="Set the format of the output (default: text).",
)  # fmt: skip
def rules(codes: tuple[str, ...], kind: str) -> int:
    """List the rules of 'check' and 'diff', or explain the rules with CODE (or name).

    A code never changes its meaning and is never reused.
    """
    known = describe_rules(ALL_RULES)
    named = [known[find_rule(code, "rules").code] for code in codes]
    chosen = named or list(known.values())
    if kind == "json":
        from bundle_fix.report.render.json import format_json

        sys.stdout.write(format_json(chosen))
    elif kind == "markdown":
        sys.stdout.write(render_rules_page(chosen))
    elif codes:
        sys.stdout.write("\n".join(map(render_rule, chosen)))
    else:
        sys.stdout.write(render_rule_list(chosen))
    return 0
