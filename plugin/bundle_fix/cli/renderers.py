"""Report formats of ``check`` and ``diff`` by name; each renderer is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.cli.status import compute_exit_code
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, RuleText, strip_findings
from bundle_fix.report.render.causes_text import Paint
from bundle_fix.report.render.text import render_text, render_total

if TYPE_CHECKING:
    from bundle_fix.report.diff import DiffReport
    from bundle_fix.report.run import RunReport


class Style(Struct, frozen=True):
    """Format and options of reports.

    Attributes:
        command: Command that makes the reports, such as ``check``.
        kind: Format, one of `FORMATS`.
        rules: Texts of the rules by code.
        fail_on: Lowest severity that fails a check.
        paint: Function that colours words, or leaves them plain.
        verbose: List everything.
        quiet: Omit artifacts that pass.
        exit_zero: Exit with 0 despite findings.
    """

    command: str
    kind: str
    rules: Mapping[str, RuleText]
    fail_on: Severity
    paint: Paint
    verbose: bool
    quiet: bool
    exit_zero: bool


def convert_for_file(style: Style, kind: str) -> Style:
    """Return the style for a file of another format: complete and without colours."""
    return replace(style, kind=kind, paint=lambda text, _: text, quiet=False)


def render_reports(reports: Iterable[CheckReport], style: Style, *, errors: bool) -> Iterator[str]:
    """Yield the rendered reports in pieces, each as soon as it can be written.

    Args:
        reports: One report per artifact, in order.
        style: Format and options.
        errors: Include the artifacts that could not be checked in the text format; stderr has
            these errors too.
    """
    if style.kind == "text":
        yield from _render_texts(reports, style, errors=errors)
    elif style.kind == "jsonl":
        from bundle_fix.report.render.json import render_jsonl

        yield from map(render_jsonl, reports)
    else:
        yield DOCUMENT_FORMATS[style.kind](list(reports), style)


def _render_texts(reports: Iterable[CheckReport], style: Style, *, errors: bool) -> Iterator[str]:
    rendered: list[CheckReport] = []
    for report in reports:
        if not (style.quiet and not report.failed) and (errors or not report.error):
            separator = "\n" if rendered else ""
            yield separator + render_text(report, style.rules, style.paint, verbose=style.verbose)
        rendered.append(strip_findings(report))
    if len(rendered) > 1 and not style.quiet:
        yield "\n" + render_total(rendered)


def _render_as_json(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.json import render_json

    return render_json(reports)


def _render_as_sarif(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.sarif import render_sarif

    status = compute_exit_code(reports, exit_zero=style.exit_zero)
    return render_sarif(reports, style.rules, style.command, status)


def _render_as_junit(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.junit import render_junit

    return render_junit(reports, style.rules, style.fail_on)


def _render_as_github(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.github import render_github

    return render_github(reports)


def _render_as_gitlab(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.render.gitlab import render_gitlab

    return render_gitlab(reports)


def _render_as_html(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.html.pages.check_page import render_check_page

    return render_check_page(reports, style.rules)


DOCUMENT_FORMATS: dict[str, Callable[[list[CheckReport], Style], str]] = {
    "json": _render_as_json,
    "sarif": _render_as_sarif,
    "junit": _render_as_junit,
    "github": _render_as_github,
    "gitlab": _render_as_gitlab,
    "html": _render_as_html,
}
"""Renderers of the formats that put all artifacts into one document."""

FORMATS = ("text", "jsonl", *DOCUMENT_FORMATS)


def render_step_summary(reports: list[CheckReport], style: Style) -> str:
    """Return the Markdown summary that GitHub Actions shows below a step."""
    from bundle_fix.report.render.github import render_summary

    return render_summary(reports, style.rules)


def render_difference(report: DiffReport, style: Style) -> str:
    """Return the rendered report of a comparison."""
    if style.kind == "text":
        from bundle_fix.report.render.diff_text import render_diff

        return render_diff(report, style.rules, style.paint, verbose=style.verbose)
    if style.kind == "html":
        from bundle_fix.report.html.pages.diff_page import render_diff_page

        return render_diff_page(report, style.rules)
    from bundle_fix.report.diff import convert_to_check_report

    return _render_data(report, convert_to_check_report(report), style)


def render_observation(report: RunReport, style: Style) -> str:
    """Return the rendered report of a run."""
    if style.kind == "text":
        from bundle_fix.report.render.run_text import render_run

        return render_run(report, style.rules, style.paint, verbose=style.verbose)
    if style.kind == "html":
        from bundle_fix.report.html.pages.run_page import render_run_page

        return render_run_page(report, style.rules)
    from bundle_fix.report.run import convert_to_check_report

    return _render_data(report, convert_to_check_report(report), style)


def _render_data(report: DiffReport | RunReport, findings: CheckReport, style: Style) -> str:
    """Return a report as JSON, or its findings in a format for findings only."""
    if style.kind in ("json", "jsonl"):
        from bundle_fix.report.render.json import format_json, format_json_line

        return (format_json if style.kind == "json" else format_json_line)(report)
    return DOCUMENT_FORMATS[style.kind]([findings], style)
