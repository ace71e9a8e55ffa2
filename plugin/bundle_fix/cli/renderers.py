"""The formats of ``check`` by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.cli.status import exit_status
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, RuleText, strip_findings
from bundle_fix.report.render.text import Paint, render_text, render_total

if TYPE_CHECKING:
    from bundle_fix.report.diff import DiffReport


class Style(Struct, frozen=True):
    """How reports are to look.

    Attributes:
        command: what makes the reports, such as ``check``.
        kind: the format.
        rules: what there is to say of each rule, by code.
        fail_on: the mildest severity that fails a check.
        paint: colours words, or leaves them as they are.
        verbose: list everything.
        quiet: say nothing of what is well.
        exit_zero: findings do not fail the command.
    """

    command: str
    kind: str
    rules: Mapping[str, RuleText]
    fail_on: Severity
    paint: Paint
    verbose: bool
    quiet: bool
    exit_zero: bool


def in_file(style: Style, kind: str) -> Style:
    """The same for a file of another format: all is said, and nothing is coloured."""
    return replace(style, kind=kind, paint=lambda text, _: text, quiet=False)


def render(reports: Iterable[CheckReport], style: Style, *, errors: bool) -> Iterator[str]:
    """The reports in pieces, each as soon as it can be written.

    Args:
        reports: one for each artifact, in order.
        style: how they are to look.
        errors: whether the text says what could not be checked; stderr has said it as well.
    """
    if style.kind == "text":
        yield from _text(reports, style, errors=errors)
    elif style.kind == "jsonl":
        from bundle_fix.report.render.json import render_jsonl

        yield from map(render_jsonl, reports)
    else:
        yield WHOLE[style.kind](list(reports), style)


def _text(reports: Iterable[CheckReport], style: Style, *, errors: bool) -> Iterator[str]:
    told: list[CheckReport] = []
    for report in reports:
        if not (style.quiet and not report.failed) and (errors or not report.error):
            between = "\n" if told else ""
            yield between + render_text(report, style.rules, style.paint, verbose=style.verbose)
        told.append(strip_findings(report))
    if len(told) > 1 and not style.quiet:
        yield "\n" + render_total(told)


def _json(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.json import render_json

    return render_json(reports)


def _sarif(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.sarif import render_sarif

    status = exit_status(reports, exit_zero=style.exit_zero)
    return render_sarif(reports, style.rules, style.command, status)


def _junit(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.junit import render_junit

    return render_junit(reports, style.rules, style.fail_on)


def _github(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.github import render_github

    return render_github(reports)


def _gitlab(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.gitlab import render_gitlab

    return render_gitlab(reports)


WHOLE: dict[str, Callable[[list[CheckReport], Style], str]] = {
    "json": _json,
    "sarif": _sarif,
    "junit": _junit,
    "github": _github,
    "gitlab": _gitlab,
}
"""The formats that are one document on all artifacts."""

FORMATS = ("text", "jsonl", *WHOLE)


def summary_of(reports: list[CheckReport], style: Style) -> str:
    """The Markdown that GitHub Actions shows below a step."""
    from bundle_fix.report.render.github import render_summary

    return render_summary(reports, style.rules)


def render_difference(report: DiffReport, style: Style) -> str:
    """The report on two artifacts."""
    if style.kind == "text":
        from bundle_fix.report.render.diff_text import render_diff

        return render_diff(report, style.rules, style.paint, verbose=style.verbose)
    if style.kind in ("json", "jsonl"):
        from bundle_fix.report.render.json import format_json, format_json_line

        return (format_json if style.kind == "json" else format_json_line)(report)
    from bundle_fix.report.diff import convert_to_check_report

    return WHOLE[style.kind]([convert_to_check_report(report)], style)
