"""The text report: findings grouped by rule, the worst first, each with what shows it.

It is made for 80 columns and for a CI log without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bundle_fix.check.abi import Abi
from bundle_fix.check.findings import ERROR, NOTE, SEVERITIES, WARNING
from bundle_fix.loader.objects import Step
from bundle_fix.report.model import CheckReport, FindingRecord, RuleText
from bundle_fix.report.printable import printable
from bundle_fix.report.steps import step_text

WIDTH = 80
SHOWN = 8
"""Findings of one rule that are listed; ``--verbose`` lists all."""
COLOURS = {ERROR: "red", WARNING: "yellow", NOTE: "blue"}
Paint = Callable[[str, str], str]
"""Colours a text: the text and the colour's name."""


def render_text(
    report: CheckReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """The report on one artifact.

    Args:
        report: what the check found.
        rules: what there is to say of each rule, by code.
        paint: colours words, or leaves them as they are.
        verbose: list all findings of every rule, and what each file wants of the target.
    """
    lines: list[str] = []
    findings = sorted(report.findings, key=lambda f: (SEVERITIES.index(f.severity), f.rule))
    for (severity, code), group in groupby(findings, key=lambda f: (f.severity, f.rule)):
        lines += _section(severity, rules[code], list(group), paint, verbose)
    lines += _abi(report.abi) if verbose and report.abi else ()
    lines.append(_total(report, paint))
    return "\n".join(lines) + "\n"


def render_total(reports: Sequence[CheckReport]) -> str:
    """One line on several artifacts."""
    broken = sum(bool(report.error) for report in reports)
    failed = sum(report.failed for report in reports) - broken
    counts = f"{len(reports) - failed - broken} passed, {failed} failed"
    unread = f", {broken} could not be checked" if broken else ""
    return f"{_counted(len(reports), 'artifact')}: {counts}{unread}\n"


def _section(
    severity: str, rule: RuleText, findings: list[FindingRecord], paint: Paint, verbose: bool
) -> Iterator[str]:
    title = _wrapped(f"{severity} {rule.code} {rule.name}: {rule.summary}", "", "  ")
    yield title[0].replace(severity, paint(severity, COLOURS[severity]), 1)
    yield from title[1:]
    alike = _grouped(findings)
    shown = alike if verbose else alike[:SHOWN]
    for first, *others in shown:
        yield from _wrapped(f"{first.path} {first.message}".strip(), "  ", "      ")
        yield from _trace(first.evidence.get("trace", ()))
        yield from _likewise(first, others)
    left = sum(map(len, alike[len(shown) :]))
    if left:
        yield f"  … and {left} more (--verbose lists all)"
    if severity != NOTE:
        yield from _wrapped(f"why:  {rule.why}", "  ", "        ")
    yield from _hints(rule, [finding for group in shown for finding in group])
    yield ""


def _grouped(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Findings that say the same of several names, or of several objects, together.

    First the needs of one object whose searches went the same way, then those that are left and
    are about one name; the most telling finding of each group comes first.
    """
    groups: dict[object, list[FindingRecord]] = {}
    for number, finding in enumerate(findings):
        trace = finding.evidence.get("trace")
        way = [(s["via"], s["entry"], s["verdict"]) for s in trace] if trace else number
        groups.setdefault((finding.path, str(way)), []).append(finding)
    merged: dict[object, list[FindingRecord]] = {}
    for key, group in groups.items():
        alone = len(group) == 1 and "trace" in group[0].evidence
        about = group[0].evidence["needed"] if alone else key
        merged.setdefault(about, []).extend(sorted(group, key=lambda f: not _is_renamed(f)))
    return list(merged.values())


def _likewise(first: FindingRecord, others: Sequence[FindingRecord]) -> Iterator[str]:
    if not others:
        return
    if all(other.path == first.path for other in others):
        names = ", ".join(str(other.evidence["needed"]) for other in others)
        yield from _wrapped(f"and in the same way: {names}", "      ", "        ")
    else:
        paths = ", ".join(dict.fromkeys(other.path for other in others))
        yield from _wrapped(f"and so do: {paths}", "      ", "        ")


def _is_renamed(finding: FindingRecord) -> bool:
    """Whether the pack has what is needed under another file name: what startles most."""
    needed = str(finding.evidence.get("needed", ""))
    provided = finding.evidence.get("provided", ())
    return bool(provided) and not any(str(path).endswith(needed) for path in provided)


def _hints(rule: RuleText, findings: Sequence[FindingRecord]) -> Iterator[str]:
    hints = dict.fromkeys(finding.hint for finding in findings)
    for hint in hints if len(hints) <= 3 else (rule.mend,):
        yield from _wrapped(f"mend: {hint}", "  ", "        ")


def _trace(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        yield from _wrapped(f"{number}. {step_text(Step(**step))}", "      ", "         ")


def _abi(abi: Abi) -> Iterator[str]:
    """What the pack wants of its target, and then what each file does."""
    newest = [f"{family} {one.version} ({one.path})" for family, one in abi.versions.items()]
    yield from _wrapped(f"wants of the target: {', '.join(newest) or 'no versions'}", "", "  ")
    for path in dict.fromkeys((*abi.files, *abi.levels)):
        wanted = [f"{family} {version}" for family, version in abi.files.get(path, {}).items()]
        wanted += [abi.levels[path]] if path in abi.levels else []
        yield from _wrapped(f"{path}: {', '.join(wanted)}", "  ", "      ")
    yield ""


def _total(report: CheckReport, paint: Paint) -> str:
    name = printable(report.artifact)
    if report.error:
        return f"{name}: {paint('could not be checked', 'red')}"
    counts = ", ".join(_counted(report.summary[s], s) for s in SEVERITIES if report.summary[s])
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    passed = paint("FAILED", "red") if report.failed else paint("passed", "green")
    size = f"{_counted(report.programs, 'program')}, "
    size += _counted(report.libraries, "library", "libraries")
    return f"{name}: {passed}: {counts or 'nothing found'}{ignored} ({size})"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
