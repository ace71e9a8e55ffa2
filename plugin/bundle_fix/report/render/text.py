"""The text report on one artifact: the verdict, what it requires, then the causes of findings.

The text fits into 80 columns and needs no colour, as in a CI log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.check.facts.abi import Abi
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport, Remedy, RuleText
from bundle_fix.report.render.causes_text import (
    WIDTH,
    Paint,
    render_all_causes,
    render_causes,
    render_title,
    wrap_text,
)

MAX_LINES = 40
"""Limit on the lines of a report, without ``--verbose``."""
MAX_LEFT = 8
"""Limit on the causes that are listed after a repair."""
FAMILIES = ("GLIBC", "GLIBCXX", "CXXABI", "GCC")
"""The families of symbol versions: those of glibc, of libstdc++ and of libgcc."""


def render_text(
    report: CheckReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """Render the report on one artifact.

    Args:
        report: the report.
        rules: the explanation of each rule, by code.
        paint: the function that colours a text, or returns it unchanged.
        verbose: list all findings, and the requirements of each file.
    """
    lines = [_render_result(report, paint)]
    lines += [format_requirements(report.abi)] if report.abi else []
    end = render_remedy(report.remedy)
    if report.causes:
        arguments = report.causes, report.findings, rules, paint
        limit = MAX_LINES - len(lines) - len(end) - 2
        text = render_all_causes(*arguments) if verbose else render_causes(*arguments, limit)
        lines += ["", *text]
    if verbose and report.abi:
        lines += ["", *_render_abi(report.abi)]
    if end:
        lines += ["", *end]
    return "\n".join(lines) + "\n"


def render_remedy(remedy: Remedy | None) -> list[str]:
    """Return the line with the command that repairs findings."""
    if remedy is None:
        return []
    text, command = f"{count_repaired(remedy)} repaired by:", escape_unprintable(remedy.command)
    # A command is not wrapped, so that it can be copied.
    is_short = len(text) + len(command) < WIDTH
    lines = [f"{text} {command}"] if is_short else [text, f"  {command}"]
    if remedy.needs_force:
        lines.append("  (--force writes the result although its check still fails)")
    return lines


def count_repaired(remedy: Remedy) -> str:
    """Return the number of repaired findings as a phrase that ends with a verb."""
    if remedy.problems == 1:
        return "the finding is"
    count = "all" if remedy.fixed == remedy.problems else f"{remedy.fixed} of"
    verb = "is" if remedy.fixed == 1 else "are"
    return f"{count} {remedy.problems} errors and warnings {verb}"


def render_left(report: CheckReport, paint: Paint) -> list[str]:
    """Render a line for each cause of errors and warnings that a repair left."""
    left = [cause for cause in report.causes if cause.severity is not Severity.NOTE]
    lines = ["left:"] if left else []
    for cause in left[:MAX_LEFT]:
        lines += (f"  {line}" for line in render_title(cause, report.findings, paint))
    if len(left) > MAX_LEFT:
        lines.append(f"  … and {len(left) - MAX_LEFT} more causes ('bundle-fix check' shows all)")
    return lines


def render_total(reports: Sequence[CheckReport]) -> str:
    """Render the one-line total of several artifacts."""
    unreadable = sum(bool(report.error) for report in reports)
    failed = sum(report.failed for report in reports) - unreadable
    counts = f"{len(reports) - failed - unreadable} passed, {failed} failed"
    counts += f", {unreadable} could not be checked" if unreadable else ""
    return f"{format_count(len(reports), 'artifact')}: {counts}\n"


def format_requirements(abi: Abi) -> str:
    """Return the line with the newest symbol versions that the pack requires of its target."""
    found = [(family, abi.versions[family]) for family in FAMILIES if family in abi.versions]
    newest = [f"{family} {one.version}" for family, one in found]
    libc = ["musl"] if abi.musl else []
    return f"required of the target: {', '.join([*newest, *libc]) or 'no symbol versions'}"


def _render_abi(abi: Abi) -> Iterator[str]:
    """Yield the requirements of each file."""
    for path in dict.fromkeys((*abi.files, *abi.levels)):
        required = [f"{family} {version}" for family, version in abi.files.get(path, {}).items()]
        required += [abi.levels[path]] if path in abi.levels else []
        yield from wrap_text(f"{path}: {', '.join(required)}", "  ", "      ")


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
