"""The formats of ``check`` by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bundle_fix.report.model import CheckReport, RuleText
from bundle_fix.report.text import Paint, render_text, render_total


@dataclass(frozen=True, slots=True)
class Style:
    """How reports are to look.

    Attributes:
        kind: the format.
        rules: what there is to say of each rule, by code.
        fail_on: the mildest severity that fails a check.
        paint: colours words, or leaves them as they are.
        verbose: list everything.
        quiet: say nothing of what is well.
    """

    kind: str
    rules: Mapping[str, RuleText]
    fail_on: str
    paint: Paint
    verbose: bool
    quiet: bool


def render(reports: Iterable[CheckReport], style: Style, count: int) -> Iterator[str]:
    """The reports in pieces, each as soon as it can be written.

    Args:
        reports: one for each artifact, in order.
        style: how they are to look.
        count: how many there will be.
    """
    if style.kind == "text":
        yield from _text(reports, style, count)
    elif style.kind == "jsonl":
        from bundle_fix.report.json import render_jsonl

        yield from map(render_jsonl, reports)
    else:
        yield WHOLE[style.kind](list(reports), style)


def _text(reports: Iterable[CheckReport], style: Style, count: int) -> Iterator[str]:
    told: list[CheckReport] = []
    for report in reports:
        # The line on stderr says it all where there is but one artifact.
        if not (style.quiet and not report.failed) and not (report.error and count == 1):
            between = "\n" if told else ""
            yield between + render_text(report, style.rules, style.paint, verbose=style.verbose)
        told.append(report)
    if len(told) > 1 and not style.quiet:
        yield "\n" + render_total(told)


def _json(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.json import render_json

    return render_json(reports)


def _sarif(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.sarif import render_sarif

    return render_sarif(reports, style.rules)


def _junit(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.junit import render_junit

    return render_junit(reports, style.rules, style.fail_on)


def _github(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.github import render_github

    return render_github(reports)


def _gitlab(reports: list[CheckReport], style: Style) -> str:
    from bundle_fix.report.gitlab import render_gitlab

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
