"""Printing of the result of a repair."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundle_fix.check.registry import CHECK_RULES, RULES_BY_CODE
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.coverage import NOTHING_CHECKED
from bundle_fix.cli.options import choose_painter, print_message
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.pipelines.apply import Action
from bundle_fix.pipelines.fix import FixResult
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import describe_rules, forget_fix, make_check_report
from bundle_fix.report.render.text import render_left, render_text


def print_result(
    artifact: Path, result: FixResult, *, dry_run: bool, quiet: bool, verbose: bool, color: str
) -> None:
    """Print the changes, and the findings of the check of the result, to stderr."""
    for line in _format_actions(result.applied.actions, verbose=verbose):
        print_message(escape_unprintable(line), quiet=quiet)
    for remark in result.applied.remarks:
        print_message(escape_unprintable(remark), quiet=quiet)
    for refusal in result.applied.refusals:
        sys.stderr.write(f"bundle-fix: error: {escape_unprintable(refusal)}\n")
    if not result.applied.actions and not result.applied.refusals:
        print_message(f"{escape_unprintable(str(artifact))}: nothing to fix", quiet=quiet)
    for finding in result.verdict.findings:
        if finding.rule == NOTHING_CHECKED.code:
            print_message(escape_unprintable(f"{artifact}: {finding.message}"), quiet=quiet)
    paint = choose_painter(color, is_terminal=sys.stderr.isatty())
    report = forget_fix(make_check_report(str(artifact), result.verdict))
    if result.before is not None and result.before.findings and result.applied.actions:
        print_message(_format_change(result.before, result.verdict), quiet=quiet)
    if result.before is not None and not result.verdict.failed and not verbose:
        for line in render_left(report, paint):
            print_message(line, quiet=quiet)
    if result.before is None and not result.verdict.failed and not verbose:
        print_message(f"passed: {_format_summary(result.verdict)}", quiet=quiet)
    if result.verdict.failed or (verbose and not quiet):
        text = render_text(report, describe_rules(CHECK_RULES), paint, verbose=verbose)
        sys.stderr.write(f"\n{text}")
    if result.failed and result.written is None and not dry_run:
        print_message(
            "no output was written; use --force to write it despite the findings", quiet=quiet
        )


def _format_change(before: CheckResult, after: CheckResult) -> str:
    """Return the numbers of errors and warnings before and after a repair."""
    severities = (Severity.ERROR, Severity.WARNING)
    return ", ".join(f"{s}s {before.summary[s]} -> {after.summary[s]}" for s in severities)


def _format_summary(result: CheckResult) -> str:
    """Return the number of errors and warnings of a check."""
    summary = result.summary
    return (
        f"{format_count(summary['error'], 'error')}, {format_count(summary['warning'], 'warning')}"
    )


def _format_actions(actions: Iterable[Action], *, verbose: bool) -> Iterator[str]:
    """Yield the changes below the rules whose findings ask for them."""
    groups: dict[tuple[str, ...], list[Action]] = {}
    for action in actions:
        groups.setdefault(action.rules, []).append(action)
    for rules, members in groups.items():
        indent = ""
        if rules:
            yield ", ".join(f"{code} {RULES_BY_CODE[code].name}" for code in rules) + ":"
            indent = "  "
        for action in members:
            editor = f" [{action.editor}]" if verbose and action.editor else ""
            yield f"{indent}{action.path}: {action.change}{editor}"
            for reason in action.skipped if verbose else ():
                yield f"{indent}{action.path}: skipped {reason}"
