"""The text report: findings grouped by rule, the worst first, each with what shows it.

It is made for 80 columns and for a CI log without colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bundle_fix.check.checker import OF_DIFFERENCES
from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.findings import ERROR, NOTE, SEVERITIES, WARNING
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import CheckReport, FindingRecord, RuleText
from bundle_fix.report.steps import decode_step, step_text

WIDTH = 80
SHOWN = 8
"""Findings of one rule that are listed; ``--verbose`` lists all."""
NAMED = 12
"""Names or paths that are listed in one sentence, likewise."""
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
    lines = list(render_findings(report.findings, rules, paint, verbose=verbose))
    lines += _abi(report.abi) if verbose and report.abi else ()
    lines.append(_total(report, paint))
    return "\n".join(lines) + "\n"


def render_findings(
    findings: Sequence[FindingRecord],
    rules: Mapping[str, RuleText],
    paint: Paint,
    *,
    verbose: bool,
) -> Iterator[str]:
    """The lines on findings: those of one rule together, the worst first.

    Among equals, what got worse between two artifacts comes before what is wrong with one.
    """
    findings = sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), not f.rule.startswith(OF_DIFFERENCES), f.rule),
    )
    for (severity, code), group in groupby(findings, key=lambda f: (f.severity, f.rule)):
        yield from _section(severity, rules[code], list(group), paint, verbose)


def render_total(reports: Sequence[CheckReport]) -> str:
    """One line on several artifacts."""
    broken = sum(bool(report.error) for report in reports)
    failed = sum(report.failed for report in reports) - broken
    counts = f"{len(reports) - failed - broken} passed, {failed} failed"
    unread = f", {broken} could not be checked" if broken else ""
    return f"{format_count(len(reports), 'artifact')}: {counts}{unread}\n"


def _section(
    severity: str, rule: RuleText, findings: list[FindingRecord], paint: Paint, verbose: bool
) -> Iterator[str]:
    title = wrap_text(f"{severity} {rule.code} {rule.name}: {rule.summary}", "", "  ")
    yield title[0].replace(severity, paint(severity, COLOURS[severity]), 1)
    yield from title[1:]
    alike = _grouped(findings)
    shown = alike if verbose else alike[:SHOWN]
    for first, *others in shown:
        yield from wrap_text(f"{first.path} {first.message}".strip(), "  ", "      ")
        yield from _trace(first.evidence.get("trace", ()))
        yield from _likewise(first, others, None if verbose else NAMED)
    left = sum(map(len, alike[len(shown) :]))
    if left:
        yield f"  … and {left} more (--verbose lists all)"
    if severity != NOTE:
        yield from wrap_text(f"why:  {rule.why}", "  ", "        ")
    yield from _hints(rule, [finding for group in shown for finding in group])
    yield ""


def _grouped(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Findings that say the same of several names, or of several objects, together.

    First the needs of one object whose searches went the same way, then those that are left and
    are about one name, and those that say the same in the same words; the most telling finding of
    each group comes first.
    """
    groups: dict[object, list[FindingRecord]] = {}
    for finding in findings:
        trace = finding.evidence.get("trace")
        way = [(s["via"], s["entry"], s["outcome"]) for s in trace] if trace else None
        said = (finding.path, str(way)) if way else ("", finding.message)
        groups.setdefault(said, []).append(finding)
    merged: dict[object, list[FindingRecord]] = {}
    for key, group in groups.items():
        alone = len(group) == 1 and "trace" in group[0].evidence
        about = group[0].subject if alone else key
        merged.setdefault(about, []).extend(sorted(group, key=lambda f: not _is_renamed(f)))
    return list(merged.values())


def _likewise(
    first: FindingRecord, others: Sequence[FindingRecord], most: int | None
) -> Iterator[str]:
    if not others:
        return
    if all(other.path == first.path for other in others) and "trace" in first.evidence:
        names = [other.subject for other in others]
        yield from wrap_text(f"and in the same way: {_listed(names, most)}", "      ", "        ")
    else:
        paths = list(dict.fromkeys(other.path for other in others))
        verb = "so do" if "needed" in first.evidence else "the same of"
        yield from wrap_text(f"and {verb}: {_listed(paths, most)}", "      ", "        ")


def _listed(names: Sequence[str], most: int | None) -> str:
    more = f" and {len(names) - most} more" if most is not None and len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_renamed(finding: FindingRecord) -> bool:
    """Whether the pack has what is needed under another file name: what startles most."""
    needed = str(finding.evidence.get("needed", ""))
    provided = finding.evidence.get("provided", ())
    return bool(provided) and not any(str(path).endswith(needed) for path in provided)


def _hints(rule: RuleText, findings: Sequence[FindingRecord]) -> Iterator[str]:
    hints = dict.fromkeys(finding.hint for finding in findings)
    for hint in hints if len(hints) <= 3 else (rule.fix,):
        yield from wrap_text(f"fix:  {hint}", "  ", "        ")


def _trace(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        yield from wrap_text(f"{number}. {step_text(decode_step(step))}", "      ", "         ")


def _abi(abi: Abi) -> Iterator[str]:
    """What the pack wants of its target, and then what each file does."""
    newest = [f"{family} {one.version} ({one.path})" for family, one in abi.versions.items()]
    yield from wrap_text(f"wants of the target: {', '.join(newest) or 'no versions'}", "", "  ")
    for path in dict.fromkeys((*abi.files, *abi.levels)):
        wanted = [f"{family} {version}" for family, version in abi.files.get(path, {}).items()]
        wanted += [abi.levels[path]] if path in abi.levels else []
        yield from wrap_text(f"{path}: {', '.join(wanted)}", "  ", "      ")
    yield ""


def _total(report: CheckReport, paint: Paint) -> str:
    name = escape_unprintable(report.artifact)
    if report.error:
        reason = escape_unprintable(report.error.removeprefix(f"{report.artifact}: "))
        return f"{name}: {paint('could not be checked', 'red')}: {reason}"
    counts = format_counts(report.summary)
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    passed = paint("FAILED", "red") if report.failed else paint("passed", "green")
    size = f"{format_count(report.programs, 'program')}, "
    size += format_count(report.libraries, "library", "libraries")
    if report.seconds:
        size += f", {format_duration(report.seconds)}"
    return f"{name}: {passed}: {counts or 'nothing found'}{ignored} ({size})"


def format_duration(seconds: float) -> str:
    """A time as people read it."""
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def format_counts(summary: Mapping[str, int]) -> str:
    """How many findings there are of each severity of which there are any."""
    return ", ".join(format_count(summary[s], s) for s in SEVERITIES if summary[s])


def wrap_text(text: str, first: str, rest: str) -> list[str]:
    """A text as lines of at most `WIDTH` columns; a long name is not cut."""
    return textwrap.wrap(
        escape_unprintable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
