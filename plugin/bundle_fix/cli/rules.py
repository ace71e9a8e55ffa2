"""``bundle-fix rules``."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from bundle_fix.check.run import RULES
from bundle_fix.errors import BundleFixError
from bundle_fix.report.model import RuleText, rule_texts
from bundle_fix.report.rules import render_list, render_markdown, render_one


@click.command(short_help="list the rules of check, or explain one")
@click.argument("codes", nargs=-1, metavar="[CODE...]")
@click.option("--format", "kind", type=click.Choice(["text", "json", "markdown"]), default="text")
def rules(codes: tuple[str, ...], kind: str) -> int:
    """List the rules that 'check' knows, or explain those with CODE (or name).

    Codes never change their meaning and are never used again.
    """
    known = rule_texts(RULES)
    chosen = [_find(known, code) for code in codes] or list(known.values())
    if kind == "json":
        from bundle_fix.report.json import to_json

        sys.stdout.write(to_json(chosen))
    elif kind == "markdown":
        sys.stdout.write(render_markdown(chosen))
    elif codes:
        sys.stdout.write("\n".join(map(render_one, chosen)))
    else:
        sys.stdout.write(render_list(chosen))
    return 0


def _find(known: dict[str, RuleText], code: str) -> RuleText:
    wanted = code.casefold()
    for rule in known.values():
        if wanted in (rule.code.casefold(), rule.name):
            return rule
    raise BundleFixError(
        f"there is no rule {code}", hint=_hint(code, known.values()), where="rules"
    )


def _hint(code: str, known: Iterable[RuleText]) -> str:
    from bundle_fix.spec.problems import did_you_mean

    words = [word for rule in known for word in (rule.code, rule.name)]
    return did_you_mean(code, words) or "'bundle-fix rules' lists them"
