"""The rules as a list, one explained, and all of them as a page of the manual."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bundle_fix.report.check_report import RuleText
from bundle_fix.report.render.text import WIDTH

FAMILIES = {
    "0": "about the check itself",
    "1": "resolution",
    "2": "RPATH and RUNPATH",
    "3": "allocators",
    "4": "ABI",
    "5": "hardening and hygiene",
    "6": "archives",
    "7": "what got worse from one artifact to the next (diff)",
}
"""What the first digit of a code says."""


def render_rule_list(rules: Iterable[RuleText]) -> str:
    """A line or two for each rule."""
    lines: list[str] = []
    for rule in rules:
        head = f"{rule.code} {rule.severity:8}"
        lines += textwrap.wrap(
            f"{rule.name}: {rule.summary}", WIDTH, initial_indent=head,
            subsequent_indent=" " * len(head),
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def render_rule(rule: RuleText) -> str:
    """All that there is to say of one rule."""
    lines = [f"{rule.code} {rule.name} ({rule.severity})"]
    told = (("what", rule.summary), ("why", rule.why), ("fix", rule.fix), ("e.g.", rule.example))
    for word, text in told:
        lines += textwrap.wrap(
            text, WIDTH, initial_indent=f"  {word + ':':6}", subsequent_indent=" " * 8,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def render_rules_page(rules: Sequence[RuleText]) -> str:
    """The page of the manual, by family."""
    return "\n".join(_page(rules)) + "\n"


def _page(rules: Sequence[RuleText]) -> Iterator[str]:
    yield "# The rules"
    yield ""
    yield "Made by `bundle-fix rules --format markdown`; do not edit. The severity is that of a"
    yield "finding in what a program of the pack loads; in what none loads it is milder."
    for digit, family in FAMILIES.items():
        members = [rule for rule in rules if rule.code[2] == digit]
        if members:
            yield f"\n## BF{digit}xx: {family}"
        for rule in members:
            yield f"\n### {rule.code} {rule.name}"
            yield f"\n*{rule.severity}.* {rule.summary}"
            yield f"\n**Why it bites.** {rule.why}"
            yield f"\n**Fix.** {rule.fix}"
            yield f"\n**For example.** {rule.example}"
