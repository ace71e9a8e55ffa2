"""The text report on two artifacts: the verdict, the regressions, then all other differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import join_names
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.diff import (
    DiffReport,
    ResolutionRecord,
    ResolvedFileRecord,
)
from bundle_fix.report.render.causes_text import (
    Paint,
    render_all_causes,
    render_causes,
    wrap_text,
)
from bundle_fix.report.render.member_changes import (
    MAX_NAMES,
    ChangeKind,
    MemberChange,
    list_member_changes,
)
from bundle_fix.report.render.text import MAX_LINES, format_counts, format_duration

MAX_CAUSES = 24
"""Limit on the lines about regressions, without ``--verbose``."""
MAX_IMPROVEMENTS = 3
"""Limit on the listed needed names that resolve to a better file, without ``--verbose``."""
MIN_MEMBERS = 5
"""Lines about changed members that are printed in any case."""
MARKS: Mapping[ChangeKind, tuple[str, str]] = {
    ChangeKind.REMOVED: ("-", "red"),
    ChangeKind.ADDED: ("+", "green"),
    ChangeKind.CHANGED: ("~", "yellow"),
}
"""The mark of each kind of change, and its colour."""


def render_diff(
    report: DiffReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """Render the report on two artifacts.

    Args:
        report: the report.
        rules: the explanation of each rule, by code.
        paint: the function that colours a text, or returns it unchanged.
        verbose: list all findings and members.
    """
    arguments = report.causes, report.findings, rules, paint
    causes = render_all_causes(*arguments) if verbose else render_causes(*arguments, MAX_CAUSES)
    blocks = (
        causes,
        list(_render_improvements(report, paint, None if verbose else MAX_IMPROVEMENTS)),
        list(_render_required_versions(report)),
    )
    lines = [_render_result(report, paint)]
    for block in blocks:
        lines += ["", *block] if block else []
    # An empty line, the line with the numbers, and one for what is left out are printed as well.
    limit = None if verbose else max(MAX_LINES - len(lines) - 3, MIN_MEMBERS)
    members = list(_render_members(report, paint, limit))
    lines += ["", *members] if members else []
    return "\n".join(lines) + "\n"


def _render_improvements(report: DiffReport, paint: Paint, limit: int | None) -> Iterator[str]:
    better = [r for r in report.resolutions if not r.worse]
    if better:
        yield paint("better", "green") + ": needed names that now resolve to a better file"
        for record in better[:limit]:
            yield from wrap_text(_format_resolution(record), "  ", "      ")
        if limit is not None and len(better) > limit:
            yield f"  … and {len(better) - limit} more (-v lists all)"
    if report.fixed:
        parts = sorted({f"{f.rule} {f.name} ({escape_unprintable(f.path)})" for f in report.fixed})
        yield from wrap_text(f"fixed: {join_names(parts, MAX_NAMES)}", "", "  ")


def _format_resolution(record: ResolutionRecord) -> str:
    files = f"{_format_file(record.old)} -> {_format_file(record.new)}"
    return f"{record.needed_by} needs {record.needed}: {files}"


def _format_file(record: ResolvedFileRecord) -> str:
    if record.path is None:
        return "not found"
    return f"{'the host' if record.origin is ObjectOrigin.HOST else 'the pack'}'s {record.path}"


def _render_required_versions(report: DiffReport) -> Iterator[str]:
    """Yield the newest symbol versions required of the host, if they changed."""
    for family, versions in report.required_versions.items():
        if versions.old != versions.new:
            change = f"{versions.old or 'none'} -> {versions.new or 'none'}"
            path = f" ({versions.path})" if versions.path else ""
            yield from wrap_text(f"newest {family} required: {change}{path}", "", "  ")


def _render_members(report: DiffReport, paint: Paint, limit: int | None) -> Iterator[str]:
    """Yield the number of changed members, and lines about them up to ``limit``."""
    members = report.members
    counts = {"added": members.added, "removed": members.removed, "changed": members.changed}
    parts = [f"{len(group)} {word}" for word, group in counts.items() if group]
    if not parts:
        return
    yield f"members: {', '.join(parts)}, {members.same} unchanged"
    changes = list(list_member_changes(report.members))
    shown = 0
    for number, change in enumerate(changes):
        block = _mark_lines(change, paint)
        shown += len(block)
        if limit is not None and shown > limit:
            yield f"… and {len(changes) - number} more (-v lists all)"
            return
        yield from block


def _mark_lines(change: MemberChange, paint: Paint) -> list[str]:
    lines = wrap_text(change.text, "  ", "    ")
    # The mark goes in after wrapping, because a colour's escape sequence has no width.
    return [f"{paint(*MARKS[change.kind])}{lines[0][1:]}", *lines[1:]]


def _render_result(report: DiffReport, paint: Paint) -> str:
    members = report.members
    differences = (*members.added, *members.removed, *members.changed, *report.resolutions)
    no_findings = "no regressions" if differences or report.fixed else "no differences"
    counts = format_counts(report.summary) or no_findings
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    verdict = paint("WORSE", "red") if report.failed else paint("not worse", "green")
    names = escape_unprintable(f"{report.old} -> {report.new}")
    return f"{names}: {verdict}: {counts}{ignored} ({format_duration(report.seconds)})"
