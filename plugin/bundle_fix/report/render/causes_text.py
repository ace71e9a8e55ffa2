"""Causes as text, the worst first, as many and in as much detail as the space allows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from bundle_fix.loader.search.steps import SearchStep
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import MAX_NAMES, format_count, join_names
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.steps import decode_step, format_rule_and_verdict, format_step

WIDTH = 80
MAX_EXPLANATION = 4
"""Limit on the lines of an explanation, without ``--verbose``."""
MAX_TRACE = 4
"""Limit on the lines of a trace, without ``--verbose``."""
MAX_HINTS = 3
"""Limit on the ways to repair the findings of a cause; more are replaced by that of the rule."""
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
Paint = Callable[[str, str], str]
"""A function that colours a text, given the text and the name of the colour."""


class Detail(IntEnum):
    """The parts of a cause that are printed."""

    HIDDEN = 0
    TITLE = 1
    EXPLANATION = 2
    TRACE = 3
    CONSEQUENCES = 4


def render_causes(
    causes: Sequence[Cause],
    findings: Sequence[FindingRecord],
    rules: Mapping[str, RuleText],
    paint: Paint,
    limit: int,
) -> list[str]:
    """Return causes in at most ``limit`` lines; the last line says if something is left out.

    Args:
        causes: the causes, the worst first.
        findings: the findings of the report.
        rules: the explanation of each rule, by code.
        paint: the function that colours a text, or returns it unchanged.
        limit: the number of lines.
    """
    if not causes:
        return []
    # A cause takes a line at least, so the others cannot be printed.
    first = causes[: max(limit, 0)]
    others = len(causes) - len(first)
    blocks = [
        {detail: list(_render_cause(cause, findings, rules, paint, detail)) for detail in Detail}
        for cause in first
    ]
    details = [Detail.HIDDEN] * len(first)
    lines = _join_blocks(blocks, details, others)
    for index, detail in _list_wishes(first):
        wished = [*details[:index], detail, *details[index + 1 :]]
        longer = _join_blocks(blocks, wished, others)
        if len(longer) <= limit:
            details, lines = wished, longer
    return lines


def _list_wishes(causes: Sequence[Cause]) -> Iterator[tuple[int, Detail]]:
    """Yield the causes with the details to print, the most important ones first."""
    by_severity: dict[Severity, list[int]] = {severity: [] for severity in Severity}
    for index, cause in enumerate(causes):
        by_severity[cause.severity].append(index)
    errors, warnings, notes = (by_severity[severity] for severity in Severity)
    for indices, detail in (
        ([*errors, *warnings], Detail.TITLE),
        ([*errors, *warnings], Detail.EXPLANATION),
        (errors, Detail.TRACE),
        (notes, Detail.TITLE),
        (warnings, Detail.TRACE),
        ([*errors, *warnings], Detail.CONSEQUENCES),
        (notes, Detail.TRACE),
    ):
        yield from ((index, detail) for index in indices)


def _join_blocks(
    blocks: Sequence[Mapping[Detail, list[str]]], details: Sequence[Detail], others: int
) -> list[str]:
    """Return the lines of causes, with empty lines around those that have several.

    The last line has the number of hidden causes, of which ``others`` have no block.
    """
    lines: list[str] = []
    previous = Detail.TITLE
    for block, detail in zip(blocks, details, strict=True):
        if lines and max(previous, detail) > Detail.TITLE and detail:
            lines.append("")
        lines += block[detail]
        previous = detail
    hidden = others + details.count(Detail.HIDDEN)
    if hidden:
        lines.append(f"… and {format_count(hidden, 'more cause')} (-v shows all)")
    elif min(details) < Detail.TRACE:
        lines += ["", "(-v shows all details)"]
    return lines


def _render_cause(
    cause: Cause,
    findings: Sequence[FindingRecord],
    rules: Mapping[str, RuleText],
    paint: Paint,
    detail: Detail,
) -> Iterator[str]:
    """Yield the lines for one cause: its worst finding stands for all."""
    if detail is Detail.TITLE:
        yield from render_title(cause, findings, paint)
    if detail <= Detail.TITLE:
        return
    yield from _render_title(cause, paint)
    yield from _cut(wrap_text(cause.explanation, "  ", "      "), MAX_EXPLANATION)
    if detail >= Detail.TRACE:
        yield from _shorten_trace(findings[cause.findings[0]].evidence.get("trace", ()))
    also = describe_other_findings(cause, findings)
    if also:
        yield from wrap_text(f"also: {also}", "  ", "        ")
    if detail >= Detail.CONSEQUENCES and cause.severity is not Severity.NOTE:
        yield from wrap_text(f"why:  {rules[cause.rule].why}", "  ", "        ")
    yield from wrap_text(f"fix:  {cause.fix}", "  ", "        ")


def render_title(cause: Cause, findings: Sequence[FindingRecord], paint: Paint) -> list[str]:
    """Return a line, or two, that stand for a cause without its explanation."""
    return _render_title(cause, paint, _list_places(cause, findings))


def _list_places(cause: Cause, findings: Sequence[FindingRecord]) -> list[str]:
    """Return the roots of a cause with several, else the files of its findings."""
    if cause.more_roots:
        return [cause.root, *cause.more_roots]
    paths = dict.fromkeys(findings[index].path for index in cause.findings)
    return [path for path in paths if path not in ("", cause.root)]


def _render_title(cause: Cause, paint: Paint, names: Sequence[str] = ()) -> list[str]:
    """Return the severity, the rule and the root, with the names that fit into the line."""
    mark = ""
    if cause.fixable:
        mark = " [fixable]"
    elif cause.fixed:
        mark = f" [{cause.fixed} of {len(cause.findings)} fixable]"
    text = f"{cause.severity} {cause.rule} {cause.name}: {cause.title}"
    count = len(names)
    ends = [f": {join_names(names, shown)}" for shown in range(min(count, MAX_NAMES), 0, -1)]
    if count > 1:
        ends.append(f": {join_names(names)}" if cause.more_roots else f" ({count} files)")
    ends = ends or [""]
    end = next((end for end in ends if len(text + end + mark) <= WIDTH), ends[-1])
    lines = wrap_text(text + end + mark, "", "  ")
    # The colours go in after wrapping, because their escape sequences have no width.
    lines[0] = paint(cause.severity, COLOURS[cause.severity]) + lines[0][len(cause.severity) :]
    label = mark.strip()
    if label and lines[-1].endswith(label):
        lines[-1] = lines[-1].removesuffix(label) + paint(label, "green")
    return lines


def describe_other_findings(cause: Cause, findings: Sequence[FindingRecord]) -> str:
    """Return the other roots, or the other files, and the other rules of a cause."""
    worst, *others = (findings[index] for index in cause.findings)
    names: Sequence[str] = cause.more_roots
    if not names:
        names = list(dict.fromkeys(f.path for f in others if f.path not in ("", worst.path)))
    rules = dict.fromkeys(f"{f.rule} {f.name}" for f in others if f.rule != worst.rule)
    return "; ".join(filter(None, (join_names(names), ", ".join(rules))))


def _cut(lines: Sequence[str], limit: int) -> list[str]:
    return list(lines) if len(lines) <= limit else [*lines[: limit - 1], f"{lines[limit - 1]} …"]


def _shorten_trace(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a trace of at most `MAX_TRACE` lines; its last step decides, so it is kept."""
    parts = list(_render_steps(steps))
    if sum(map(len, parts)) > MAX_TRACE:
        parts[:-1] = _render_steps(steps[:-1], format_rule_and_verdict)
    if sum(map(len, parts)) <= MAX_TRACE:
        return [line for part in parts for line in part]
    *first, last = parts
    last = _cut(last, MAX_TRACE - 1)
    shown: list[str] = []
    count = 0
    for part in first:
        if len(shown) + len(part) + 1 + len(last) > MAX_TRACE:
            break
        shown += part
        count += 1
    omitted = len(first) - count
    dots = [f"      … {format_count(omitted, 'step')} (-v shows all)"] if omitted else []
    return [*shown, *dots, *last]


def _render_steps(
    steps: Sequence[Mapping[str, Any]], describe: Callable[[SearchStep], str] = format_step
) -> Iterator[list[str]]:
    for number, step in enumerate(steps, 1):
        yield wrap_text(f"{number}. {describe(decode_step(step))}", "      ", "         ")


def render_all_causes(
    causes: Sequence[Cause],
    findings: Sequence[FindingRecord],
    rules: Mapping[str, RuleText],
    paint: Paint,
) -> list[str]:
    """Return all causes with all findings, and all steps of their traces."""
    lines: list[str] = []
    for cause in causes:
        members = [findings[index] for index in cause.findings]
        lines += ["", *_render_title(cause, paint)] if lines else _render_title(cause, paint)
        for first, *others in _group_similar(members):
            text = f"{first.path} {first.message}".strip()
            is_other_rule = first.rule != cause.rule
            rule = f"{first.severity} {first.rule} {first.name}: " if is_other_rule else ""
            lines += wrap_text(f"{rule}{text}", "  ", "      ")
            lines += [
                line for part in _render_steps(first.evidence.get("trace", ())) for line in part
            ]
            names = _list_similar(first, others)
            if names:
                lines += wrap_text(f"same for: {join_names(names, None)}", "      ", "        ")
        if cause.severity is not Severity.NOTE:
            lines += wrap_text(f"why:  {rules[cause.rule].why}", "  ", "        ")
        hints = dict.fromkeys(f.hint for f in members)
        for hint in hints if len(hints) <= MAX_HINTS else (cause.fix,):
            lines += wrap_text(f"fix:  {hint}", "  ", "        ")
    return lines


def _group_similar(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Group the findings that one message can represent.

    These are the needed names of one object whose searches took the same steps, the searches of
    several objects for one name, and the findings with the same message. A finding about a library
    of another name comes first in its group, because it explains the most.
    """
    groups: dict[object, list[FindingRecord]] = {}
    for finding in findings:
        trace = finding.evidence.get("trace")
        steps = [(s["via"], s["entry"], s["outcome"]) for s in trace] if trace else None
        key = (finding.path, str(steps)) if steps else (finding.rule, finding.message)
        groups.setdefault(key, []).append(finding)
    merged: dict[object, list[FindingRecord]] = {}
    for group_key, group in groups.items():
        is_single_search = len(group) == 1 and "trace" in group[0].evidence
        merged_key = group[0].subject if is_single_search else group_key
        merged.setdefault(merged_key, []).extend(sorted(group, key=lambda f: not _is_renamed(f)))
    return list(merged.values())


def _list_similar(first: FindingRecord, others: Sequence[FindingRecord]) -> list[str]:
    """Return the names, or else the files, for which a finding stands as well."""
    if all(other.path == first.path for other in others) and "trace" in first.evidence:
        names = [n for o in others for n in (o.subject, *o.evidence.get("also_needed", ()))]
    else:
        names = [other.path for other in others]
    return list(dict.fromkeys(names))


def _is_renamed(finding: FindingRecord) -> bool:
    """Return whether the pack provides the needed name, but under another file name."""
    needed = str(finding.evidence.get("needed", ""))
    provided = finding.evidence.get("provided", ())
    return bool(provided) and not any(str(path).endswith(needed) for path in provided)


def wrap_text(text: str, first: str, rest: str) -> list[str]:
    """Return a text as lines of at most `WIDTH` columns; a word longer than that is not broken."""
    return textwrap.wrap(
        escape_unprintable(text), WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
