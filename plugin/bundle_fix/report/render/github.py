"""GitHub Actions: annotations on stdout, and a job summary in Markdown with a graph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.model.printable import escape_and_shorten, escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause
from bundle_fix.report.check_report import CheckReport, RuleText
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.locations import locate_member
from bundle_fix.report.render.causes_text import describe_other_findings
from bundle_fix.report.render.text import (
    count_repaired,
    format_duration,
    format_requirements,
    render_total,
)

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
"""Workflow commands: docs.github.com, "Workflow commands for GitHub Actions"."""
MAX_ANNOTATIONS = 10
"""Limit on the annotations of one kind per step: docs.github.com, "Workflow commands"."""
MAX_ROWS = 50
MAX_EDGES = 40
MAX_SUMMARY = 900_000
"""Limit on the summary, in bytes. GitHub refuses more than 1 MiB per step."""
MAX_TEXT = 500
"""Limit on one text in a summary, in characters."""


def render_github(reports: Sequence[CheckReport]) -> str:
    """Render a workflow command for each cause and each artifact that could not be checked.

    GitHub shows the first ten of each kind, so the most severe causes of all artifacts come first.
    The causes after the tenth of a kind become plain lines of the log.
    """
    lines = [
        (Severity.ERROR, report.artifact, "could not be checked", [report.error])
        for report in reports
        if report.error
    ]
    causes = [(report, cause) for report in reports for cause in report.causes]
    for report, cause in sorted(causes, key=lambda pair: pair[1].severity.rank):
        where = locate_member(report.artifact, report.findings[cause.findings[0]].path)
        title = f"{cause.rule} {cause.name}"
        lines.append((cause.severity, where, title, _describe_cause(report, cause)))
    counts: Counter[str] = Counter()
    rendered = []
    for severity, where, title, texts in lines:
        counts[severity] += 1
        is_annotation = counts[severity] <= MAX_ANNOTATIONS
        format_line = _format_command if is_annotation else _format_log_line
        rendered.append(format_line(severity, where, title, texts))
    return "".join(f"{line}\n" for line in rendered) + render_total(reports)


def _describe_cause(report: CheckReport, cause: Cause) -> list[str]:
    """Return the root, the explanation, what else the cause concerns, and the fix."""
    others = describe_other_findings(cause, report.findings)
    fix = f"fix: {cause.fix}"
    if cause.fixable and report.remedy:
        fix += f" This command does so: {report.remedy.command}"
    also = [f"also: {others}"] if others else []
    return [cause.title, cause.explanation, *also, fix]


def _format_command(severity: Severity, where: str, title: str, lines: Sequence[str]) -> str:
    properties = f"file={_escape_property(where)},title={_escape_property(title)}"
    message = "%0A".join(_escape_message(escape_and_shorten(line, MAX_TEXT)) for line in lines)
    return f"::{COMMANDS[severity]} {properties}::{message}"


def _format_log_line(severity: Severity, where: str, title: str, lines: Sequence[str]) -> str:
    # The line begins with the severity, so the runner never reads a name as a command ("::...").
    return (
        f"{severity} {title}: {escape_unprintable(where)}: {escape_unprintable('; '.join(lines))}"
    )


def _escape_message(text: str) -> str:
    """Escape a text for the message of a workflow command; a line break becomes visible."""
    return escape_unprintable(text).replace("%", "%25")


def _escape_property(text: str) -> str:
    return _escape_message(text).replace(":", "%3A").replace(",", "%2C")


def render_summary(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """Render the Markdown, with a Mermaid graph, for the file in ``GITHUB_STEP_SUMMARY``.

    Artifacts beyond the size limit are replaced by one line with their number.
    """
    parts, remaining = [], MAX_SUMMARY
    for number, report in enumerate(reports):
        part = "\n".join(_render_artifact(report, rules)) + "\n"
        remaining -= len(part.encode("utf-8", "backslashreplace"))
        if remaining < 0:
            omitted = format_count(len(reports) - number, "more artifact")
            parts.append(f"… and {omitted}: see the log\n")
            break
        parts.append(part)
    if len(reports) > 1:
        parts.append(f"\n{_escape_markdown(render_total(reports).strip())}\n")
    return "".join(parts)


def _render_artifact(report: CheckReport, rules: Mapping[str, RuleText]) -> Iterator[str]:
    yield f"### bundle-fix: {_format_code(report.artifact)}"
    yield ""
    if report.error:
        yield f"Could not be checked: {_escape_markdown(report.error)}"
        yield ""
        return
    counts = ", ".join(format_count(report.summary[s], s) for s in Severity)
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    duration = format_duration(report.seconds)
    yield f"**{'FAILED' if report.failed else 'passed'}**: {counts}{ignored} ({duration})"
    yield ""
    if report.abi:
        yield _escape_markdown(format_requirements(report.abi))
        yield ""
    if not report.findings:
        return
    yield from _render_causes(report)
    yield from _render_remedy(report)
    yield from _render_graph(report.findings)
    yield from _render_findings(report, rules)


def _render_causes(report: CheckReport) -> Iterator[str]:
    yield "| | cause | problem | fix |"
    yield "|---|---|---|---|"
    for cause in report.causes[:MAX_ROWS]:
        mark = " **[fixable]**" if cause.fixable else ""
        title = f"**{cause.rule} {cause.name}**: {_escape_markdown(cause.title)}{mark}"
        others = describe_other_findings(cause, report.findings)
        problem = _escape_markdown(cause.explanation + (f"; also: {others}" if others else ""))
        yield f"| {cause.severity} | {title} | {problem} | {_escape_markdown(cause.fix)} |"
    if len(report.causes) > MAX_ROWS:
        yield f"| | | … and {len(report.causes) - MAX_ROWS} more causes | |"
    yield ""


def _render_remedy(report: CheckReport) -> Iterator[str]:
    """Yield the command that repairs findings, in a block of code that can be copied."""
    if report.remedy is None:
        return
    command = escape_unprintable(report.remedy.command)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    yield f"{count_repaired(report.remedy)} repaired by:"
    yield from ("", f"{fence}sh", command, fence, "")


def _render_findings(report: CheckReport, rules: Mapping[str, RuleText]) -> Iterator[str]:
    """Yield the findings and the texts of their rules, folded."""
    yield f"<details><summary>{format_count(len(report.findings), 'finding')}</summary>"
    yield ""
    yield "| | rule | file | problem |"
    yield "|---|---|---|---|"
    for f in report.findings[:MAX_ROWS]:
        path, problem = _format_code(f.path), _escape_markdown(f.message)
        yield f"| {f.severity} | {f.rule} {f.name} | {path} | {problem} |"
    if len(report.findings) > MAX_ROWS:
        yield f"| | | | … and {len(report.findings) - MAX_ROWS} more |"
    yield ""
    for code in sorted({f.rule for f in report.findings if f.severity != Severity.NOTE}):
        why, fix = _escape_markdown(rules[code].why), _escape_markdown(rules[code].advice)
        yield f"- **{code}** {why} *{fix}*"
    yield ""
    yield "</details>"
    yield ""


def _render_graph(findings: Sequence[FindingRecord]) -> Iterator[str]:
    """Render the needed names that are not resolved inside the pack as a Mermaid flow chart."""
    edges = [f for f in findings if "needed" in f.evidence and "trace" in f.evidence]
    if not edges:
        return
    numbers: dict[str, int] = {}

    def format_node(text: str) -> str:
        number = numbers.setdefault(text, len(numbers))
        return f'n{number}["{_escape_mermaid(text)}"]'

    yield "```mermaid"
    yield "flowchart LR"
    for f in edges[:MAX_EDGES]:
        loaded = f.evidence.get("loaded")
        is_in_pack = loaded and not str(loaded).startswith("/")
        target = f"{'' if is_in_pack else 'host: '}{loaded}" if loaded else "not found"
        needed = _escape_mermaid(str(f.evidence["needed"]))
        yield f'  {format_node(f.path)} -->|"{needed}"| {format_node(target)}'
    yield "```"
    if len(edges) > MAX_EDGES:
        yield ""
        yield f"The graph shows the first {MAX_EDGES} of {len(edges)} needed names."
    yield ""


def _escape_mermaid(text: str) -> str:
    """Escape a text for a quoted Mermaid label: special characters become numeric entities."""
    plain = escape_and_shorten(text, MAX_TEXT) or "(empty)"
    return "".join(c if c.isalnum() or c in " ./_-+:,=@()" else f"#{ord(c)};" for c in plain)


def _format_code(text: str) -> str:
    """Format a text as code in a table cell, without backticks and with escaped bars."""
    plain = escape_and_shorten(text, MAX_TEXT).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def _escape_markdown(text: str) -> str:
    text = (
        escape_and_shorten(text, MAX_TEXT)
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )
    for character in "\\`*_[]|$~":
        text = text.replace(character, "\\" + character)
    return text
