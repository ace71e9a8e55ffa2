"""The text report: findings grouped by rule, the worst first, each with what shows it.

It is made for 80 columns and for a CI log without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bundle_fix.check.findings import ERROR, NOTE, SEVERITIES, WARNING, Finding, Rule
from bundle_fix.check.run import RULES, Verdict

WIDTH = 80
SHOWN = 8
"""Findings of one rule that are listed; ``--verbose`` lists all."""
COLOURS = {ERROR: "red", WARNING: "yellow", NOTE: "blue"}
VIA = {
    "runpath": "RUNPATH",
    "rpath": "RPATH",
    "default": "ld.so.cache, default directories",
    "direct": "needed by path",
}
"""Search rules as the loader's manual names them."""

Paint = Callable[[str, str], str]
"""Colours a text: the text and the colour's name."""


def render_text(artifact: str, verdict: Verdict, paint: Paint, *, verbose: bool) -> str:
    """The report on one artifact.

    Args:
        artifact: its name, as the user named it.
        verdict: what the check found.
        paint: colours words, or leaves them as they are.
        verbose: list all findings of every rule.
    """
    lines: list[str] = []
    by_rule = groupby(verdict.findings_by_rule(), key=lambda f: (f.severity, f.rule))
    for (severity, code), group in by_rule:
        lines += _section(severity, code, list(group), paint, verbose)
    lines.append(_total(artifact, verdict, paint))
    return "\n".join(lines) + "\n"


def _section(
    severity: str, code: str, findings: list[Finding], paint: Paint, verbose: bool
) -> Iterator[str]:
    rule = next(rule for rule in RULES if rule.code == code)
    yield f"{paint(severity, COLOURS[severity])} {code} {rule.name}: {rule.summary}"
    shown = findings if verbose else findings[:SHOWN]
    traces: set[str] = set()
    for finding in shown:
        yield from _wrapped(f"{finding.path} {finding.message}".strip(), "  ", "      ")
        steps = list(_trace(finding.evidence.get("trace", ())))
        if "\n".join(steps) not in traces:
            yield from steps
        traces.add("\n".join(steps))
    if len(findings) > len(shown):
        yield f"  … and {len(findings) - len(shown)} more (--verbose lists all)"
    if severity != NOTE:
        yield from _wrapped(f"why:  {rule.why}", "  ", "        ")
    yield from _hints(rule, shown)
    yield ""


def _hints(rule: Rule, findings: Sequence[Finding]) -> Iterator[str]:
    hints = dict.fromkeys(finding.hint for finding in findings)
    for hint in hints if len(hints) <= 3 else (rule.mend,):
        yield from _wrapped(f"mend: {hint}", "  ", "        ")


def _trace(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        rule = VIA.get(step["via"], step["via"])
        entry = f" {step['entry'] or '(empty)'}" if step["via"] in ("runpath", "rpath") else ""
        place = "" if step["place"] in (step["entry"], "(empty)") else f"{step['place']}: "
        yield f"      {number}. {printable(rule + entry)}"
        yield from _wrapped(f"{place}{step['verdict']}", "           ", "           ")


def _total(artifact: str, verdict: Verdict, paint: Paint) -> str:
    counts = ", ".join(_counted(verdict.summary[s], s) for s in SEVERITIES if verdict.summary[s])
    ignored = f", {verdict.ignored} ignored" if verdict.ignored else ""
    passed = paint("FAILED", "red") if verdict.failed else paint("passed", "green")
    size = f"{_counted(verdict.programs, 'program')}, "
    size += _counted(verdict.libraries, "library", "libraries")
    return f"{printable(artifact)}: {passed}: {counts or 'nothing found'}{ignored} ({size})"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def printable(text: str) -> str:
    """``text`` with everything that a terminal might obey or garble written as an escape."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
