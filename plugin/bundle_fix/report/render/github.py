"""GitHub Actions: annotations on stdout, and a summary in Markdown with a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, FindingRecord, RuleText
from bundle_fix.report.locations import locate_member
from bundle_fix.report.render.text import format_duration, render_total

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
"""Workflow commands: docs.github.com, "Workflow commands for GitHub Actions"."""
MOST_ANNOTATIONS = 10
"""Annotations of one kind that GitHub shows of a step."""
MOST_ROWS = 50
MOST_EDGES = 40
LARGEST = 900_000
"""Bytes of a summary, of which a step may write 1 MiB."""
LONGEST = 500
"""Characters of one text in a summary."""


def render_github(reports: Sequence[CheckReport]) -> str:
    """One workflow command for each finding, and for each artifact that could not be checked.

    GitHub shows the first ten of each kind: the worst of all artifacts come first, and what comes
    behind is a plain line of the log.
    """
    lines: list[tuple[Severity, str, str, list[str]]] = []
    for report in reports:
        if report.error:
            lines.append((Severity.ERROR, report.artifact, "could not be checked", [report.error]))
    for severity in Severity:
        for report in reports:
            for f in (f for f in report.findings if f.severity == severity):
                where = locate_member(report.artifact, f.path)
                text = f"{f.path} {f.message}".strip()
                lines.append((severity, where, f"{f.rule} {f.name}", [text, f"fix: {f.hint}"]))
    told: Counter[str] = Counter()
    rendered = []
    for severity, where, title, texts in lines:
        told[severity] += 1
        annotate = told[severity] <= MOST_ANNOTATIONS
        rendered.append((_command if annotate else _line)(severity, where, title, texts))
    return "".join(f"{line}\n" for line in rendered) + render_total(reports)


def _command(severity: Severity, where: str, title: str, lines: Sequence[str]) -> str:
    properties = f"file={_property(where)},title={_property(title)}"
    return f"::{COMMANDS[severity]} {properties}::{'%0A'.join(map(_data, lines))}"


def _line(severity: Severity, where: str, title: str, lines: Sequence[str]) -> str:
    # It begins with a word of ours, so that the runner never takes it for a command.
    return (
        f"{severity} {title}: {escape_unprintable(where)}: {escape_unprintable('; '.join(lines))}"
    )


def _data(text: str) -> str:
    """A text of one line; of its own line breaks, if any, escapes are seen."""
    return escape_unprintable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def render_summary(reports: Sequence[CheckReport], rules: Mapping[str, RuleText]) -> str:
    """What goes to the file that ``GITHUB_STEP_SUMMARY`` names: Markdown with a Mermaid graph.

    GitHub refuses a step's summary above 1 MiB, so what does not fit is told in one line.
    """
    parts, room = [], LARGEST
    for number, report in enumerate(reports):
        part = "\n".join(_summary(report, rules)) + "\n"
        room -= len(part.encode("utf-8", "backslashreplace"))
        if room < 0:
            left = format_count(len(reports) - number, "more artifact")
            parts.append(f"… and {left}: see the log\n")
            break
        parts.append(part)
    if len(reports) > 1:
        parts.append(f"\n{_escaped(render_total(reports).strip())}\n")
    return "".join(parts)


def _summary(report: CheckReport, rules: Mapping[str, RuleText]) -> Iterator[str]:
    yield f"### bundle-fix: {_code(report.artifact)}"
    yield ""
    if report.error:
        yield f"Could not be checked: {_escaped(report.error)}"
        yield ""
        return
    counts = ", ".join(format_count(report.summary[s], s) for s in Severity)
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    taken = format_duration(report.seconds)
    yield f"**{'FAILED' if report.failed else 'passed'}**: {counts}{ignored} ({taken})"
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
    for code in sorted({f.rule for f in report.findings if f.severity != Severity.NOTE}):
        yield f"- **{code}** {_escaped(rules[code].why)} *{_escaped(rules[code].fix)}*"
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
        inside = loaded and not str(loaded).startswith("/")
        end = f"{'' if inside else 'host: '}{loaded}" if loaded else "not found"
        yield f'  {node(f.path)} -->|"{_mermaid(str(f.evidence["needed"]))}"| {node(end)}'
    yield "```"
    if len(edges) > MOST_EDGES:
        yield ""
        yield f"The graph has the first {MOST_EDGES} of {len(edges)} needs."
    yield ""


def _mermaid(text: str) -> str:
    """Text for a label in quotes: what means something to Mermaid or HTML by its number."""
    plain = _cut(text) or "(empty)"
    return "".join(c if c.isalnum() or c in " ./_-+:,=@()" else f"#{ord(c)};" for c in plain)


def _code(text: str) -> str:
    """Text as code in a cell of a table, in which neither bar nor backtick can stand."""
    plain = _cut(text).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def _escaped(text: str) -> str:
    text = _cut(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|$~":
        text = text.replace(character, "\\" + character)
    return text


def _cut(text: str) -> str:
    plain = escape_unprintable(text)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"
