"""The text report: findings grouped by rule, most severe first, each with its evidence.

The text fits into 80 columns and needs no colour, as in a CI log.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.rule import RuleScope
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.steps import decode_step, format_step

WIDTH = 80
MAX_FINDINGS = 8
"""Limit on the listed findings of one rule, without ``--verbose``."""
MAX_NAMES = 12
"""Limit on the names or paths in one list, without ``--verbose``."""
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
Paint = Callable[[str, str], str]
"""A function that colours a text, given the text and the name of the colour."""


def render_text(
    report: CheckReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """Render the report on one artifact.

    Args:
        report: the report.
        rules: the explanation of each rule, by code.
        paint: the function that colours a text, or returns it unchanged.
        verbose: list all findings of each rule, and the requirements of each file.
    """
    lines = [_render_requirements(report.abi)] if report.abi else []
    lines += render_findings(report.findings, rules, paint, verbose=verbose)
    lines += _render_abi(report.abi) if verbose and report.abi else ()
    lines.append(_render_result(report, paint))
    return "\n".join(lines) + "\n"


def render_findings(
    findings: Sequence[FindingRecord],
    rules: Mapping[str, RuleText],
    paint: Paint,
    *,
    verbose: bool,
) -> Iterator[str]:
    """Yield the lines for findings, grouped by rule, most severe first.

    At the same severity, the rules of a comparison (BF7xx) come before those of a check.
    """
    findings = sorted(
        findings,
        key=lambda f: (f.severity.rank, rules[f.rule].scope is RuleScope.CHECK, f.rule),
    )
    for (severity, code), group in groupby(findings, key=lambda f: (f.severity, f.rule)):
        yield from _render_section(severity, rules[code], list(group), paint, verbose)


def render_total(reports: Sequence[CheckReport]) -> str:
    """Render the one-line total of several artifacts."""
    unreadable = sum(bool(report.error) for report in reports)
    failed = sum(report.failed for report in reports) - unreadable
    counts = f"{len(reports) - failed - unreadable} passed, {failed} failed"
    counts += f", {unreadable} could not be checked" if unreadable else ""
    return f"{format_count(len(reports), 'artifact')}: {counts}\n"


def _render_section(
    severity: Severity, rule: RuleText, findings: list[FindingRecord], paint: Paint, verbose: bool
) -> Iterator[str]:
    title = wrap_text(f"{severity} {rule.code} {rule.name}: {rule.title}", "", "  ")
    yield title[0].replace(severity, paint(severity, COLOURS[severity]), 1)
    yield from title[1:]
    groups = _group_findings(findings)
    shown = groups if verbose else groups[:MAX_FINDINGS]
    for first, *others in shown:
        yield from wrap_text(f"{first.path} {first.message}".strip(), "  ", "      ")
        yield from _render_trace(first.evidence.get("trace", ()))
        yield from _render_similar_findings(first, others, None if verbose else MAX_NAMES)
    omitted = sum(map(len, groups[len(shown) :]))
    if omitted:
        yield f"  … and {omitted} more (--verbose lists all)"
    if severity != Severity.NOTE:
        yield from wrap_text(f"why:  {rule.why}", "  ", "        ")
    yield from _render_fixes(rule, [finding for group in shown for finding in group])
    yield ""


def _group_findings(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Group the findings that one message can represent.

    First group the needed names of one object whose searches took the same steps, and the findings
    with the same message. Then merge the remaining single searches for the same name. A finding
    about a renamed library comes first in its group, because it explains the most.
    """
    groups: dict[object, list[FindingRecord]] = {}
    for finding in findings:
        trace = finding.evidence.get("trace")
        steps = [(s["via"], s["entry"], s["outcome"]) for s in trace] if trace else None
        key = (finding.path, str(steps)) if steps else ("", finding.message)
        groups.setdefault(key, []).append(finding)
    merged: dict[object, list[FindingRecord]] = {}
    for group_key, group in groups.items():
        is_single_search = len(group) == 1 and "trace" in group[0].evidence
        merged_key = group[0].subject if is_single_search else group_key
        merged.setdefault(merged_key, []).extend(sorted(group, key=lambda f: not _is_renamed(f)))
    return list(merged.values())


def _render_similar_findings(
    first: FindingRecord, others: Sequence[FindingRecord], limit: int | None
) -> Iterator[str]:
    if not others:
        return
    if all(other.path == first.path for other in others) and "trace" in first.evidence:
        names = [n for o in others for n in (o.subject, *o.evidence.get("also_needed", ()))]
    else:
        names = [other.path for other in others]
    joined = _join_names(list(dict.fromkeys(names)), limit)
    yield from wrap_text(f"same for: {joined}", "      ", "        ")


def _join_names(names: Sequence[str], limit: int | None) -> str:
    more = f" and {len(names) - limit} more" if limit is not None and len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _is_renamed(finding: FindingRecord) -> bool:
    """Return whether the pack provides the needed name, but under another file name."""
    needed = str(finding.evidence.get("needed", ""))
    provided = finding.evidence.get("provided", ())
    return bool(provided) and not any(str(path).endswith(needed) for path in provided)


def _render_fixes(rule: RuleText, findings: Sequence[FindingRecord]) -> Iterator[str]:
    hints = dict.fromkeys(finding.advice for finding in findings)
    for hint in hints if len(hints) <= 3 else (rule.advice,):
        yield from wrap_text(f"fix:  {hint}", "  ", "        ")


def _render_trace(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        yield from wrap_text(f"{number}. {format_step(decode_step(step))}", "      ", "         ")


def _render_requirements(abi: Abi) -> str:
    """Return the line with the newest symbol versions that the pack requires of its target."""
    newest = [f"{family} {one.version}" for family, one in abi.versions.items()]
    libc = ["musl"] if abi.musl else []
    return f"required of the target: {', '.join([*newest, *libc]) or 'no symbol versions'}"


def _render_abi(abi: Abi) -> Iterator[str]:
    """Yield the requirements of each file."""
    for path in dict.fromkeys((*abi.files, *abi.levels)):
        required = [f"{family} {version}" for family, version in abi.files.get(path, {}).items()]
        required += [abi.levels[path]] if path in abi.levels else []
        yield from wrap_text(f"{path}: {', '.join(required)}", "  ", "      ")
    yield ""


def _render_result(report: CheckReport, paint: Paint) -> str:
    name = escape_unprintable(report.artifact)
    if report.error:
        reason = escape_unprintable(report.error.removeprefix(f"{report.artifact}: "))
        return f"{name}: {paint('could not be checked', 'red')}: {reason}"
    counts = format_counts(report.summary)
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    verdict = paint("FAILED", "red") if report.failed else paint("passed", "green")
    size = f"{format_count(report.programs, 'program')}, "
    size += format_count(report.libraries, "library", "libraries")
    if report.seconds:
        size += f", {format_duration(report.seconds)}"
    return f"{name}: {verdict}: {counts or 'no findings'}{ignored} ({size})"


def format_duration(seconds: float) -> str:
    """Return a duration in seconds as text, with two decimals below 10 s."""
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def format_counts(summary: Mapping[str, int]) -> str:
    """Return the number of findings of each severity as text, without zeros."""
    return ", ".join(format_count(summary[s], s) for s in Severity if summary[s])


def wrap_text(text: str, first: str, rest: str) -> list[str]:
    """Return a text as lines of at most `WIDTH` columns; a word longer than that is not broken."""
    return textwrap.wrap(
        escape_unprintable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
