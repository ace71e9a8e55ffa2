"""GitHub Actions: annotations on stdout, and a summary in Markdown with a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.findings import ERROR, NOTE, SEVERITIES, WARNING
from bundle_fix.report.model import CheckReport, FindingRecord, RuleText
from bundle_fix.report.printable import printable

COMMANDS = {ERROR: "error", WARNING: "warning", NOTE: "notice"}
"""Workflow commands: docs.github.com, "Workflow commands for GitHub Actions"."""
MOST_ROWS = 50
MOST_EDGES = 40


def render_github(reports: Sequence[CheckReport]) -> str:
    """One workflow command for each finding, and for each artifact that could not be checked."""
    lines = []
    for report in reports:
        if report.error:
            lines.append(_command(ERROR, report.artifact, "bundle-fix", report.error))
        for finding in report.findings:
            text = f"{finding.path} {finding.message}. {finding.hint}".strip()
            place = f"{report.artifact}/{finding.path}" if finding.path else report.artifact
            title = f"{finding.rule} {finding.name}"
            lines.append(_command(finding.severity, place, title, text))
    return "".join(f"{line}\n" for line in lines)


def _command(severity: str, place: str, title: str, text: str) -> str:
    properties = f"file={_property(place)},title={_property(title)}"
    return f"::{COMMANDS[severity]} {properties}::{_data(text)}"


def _data(text: str) -> str:
    return printable(text.replace("%", "%25"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_summary(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """What goes to the file that ``GITHUB_STEP_SUMMARY`` names: Markdown with a Mermaid graph."""
    return "\n".join(line for report in reports for line in _summary(report, rules)) + "\n"


def _summary(report: CheckReport, rules: Mapping[str, RuleText]) -> Iterator[str]:
    yield f"### bundle-fix: {_code(report.artifact)}"
    yield ""
    if report.error:
        yield f"Could not be checked: {_escaped(report.error)}"
        yield ""
        return
    counts = ", ".join(f"{report.summary[s]} {s}s" for s in SEVERITIES)
    yield f"**{'FAILED' if report.failed else 'passed'}**: {counts}"
    yield ""
    if not report.findings:
        return
    yield "| | rule | where | what |"
    yield "|---|---|---|---|"
    for f in report.findings[:MOST_ROWS]:
        yield f"| {f.severity} | {f.rule} {f.name} | {_code(f.path)} | {_escaped(f.message)} |"
    if len(report.findings) > MOST_ROWS:
        yield f"| | | | … and {len(report.findings) - MOST_ROWS} more |"
    yield ""
    yield from _graph(report.findings)
    for code in sorted({f.rule for f in report.findings if f.severity != NOTE}):
        yield f"- **{code}** {_escaped(rules[code].why)} *{_escaped(rules[code].mend)}*"
    yield ""


def _graph(findings: Sequence[FindingRecord]) -> Iterator[str]:
    """The needs that lead out of the pack or nowhere, as a flow chart."""
    edges = [f for f in findings if "needed" in f.evidence and "trace" in f.evidence]
    if not edges:
        return
    numbers: dict[str, int] = {}

    def node(text: str) -> str:
        number = numbers.setdefault(text, len(numbers))
        return f'n{number}["{_mermaid(text)}"]'

    yield "```mermaid"
    yield "flowchart LR"
    for f in edges[:MOST_EDGES]:
        loaded = f.evidence.get("loaded")
        end = f"host: {loaded}" if loaded else "not found"
        yield f"  {node(f.path)} -->|{_mermaid(str(f.evidence['needed']))}| {node(end)}"
    yield "```"
    yield ""


def _mermaid(text: str) -> str:
    return printable(text).replace("#", "#35;").replace('"', "#quot;").replace("|", "#124;")


def _code(text: str) -> str:
    """Text as code in a cell of a table, in which neither bar nor backtick can stand."""
    plain = printable(text).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def _escaped(text: str) -> str:
    text = printable(text)
    for character in "\\`*_<>|[]":
        text = text.replace(character, "\\" + character)
    return text
