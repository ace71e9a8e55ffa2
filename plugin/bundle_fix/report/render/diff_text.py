"""The text report on two artifacts: first the regressions, then all other differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.diff import (
    ChangedMemberRecord,
    ChangeRecord,
    DiffReport,
    MemberRecord,
    ResolutionRecord,
    ResolvedFileRecord,
)
from bundle_fix.report.render.text import (
    Paint,
    format_counts,
    format_duration,
    render_findings,
    wrap_text,
)

MAX_MEMBERS = 20
"""Limit on the listed members of one kind of change, without ``--verbose``."""
MAX_NAMES = 6
"""Limit on the names in one list."""
ATTRIBUTE_NAMES = {"runpath": "RUNPATH", "rpath": "RPATH", "requires": "required versions"}
SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


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
    lines = list(render_findings(report.findings, rules, paint, verbose=verbose))
    blocks = (
        _render_improvements(report, paint),
        _render_required_versions(report),
        _render_members(report, paint, None if verbose else MAX_MEMBERS),
    )
    for block in map(list, blocks):
        lines += [*block, ""] if block else []
    lines.append(_render_result(report, paint))
    return "\n".join(lines) + "\n"


def _render_improvements(report: DiffReport, paint: Paint) -> Iterator[str]:
    better = [r for r in report.resolutions if not r.worse]
    if better:
        yield paint("better", "green") + ": needed names that now resolve to a better file"
        for record in better:
            yield from wrap_text(_format_resolution(record), "  ", "      ")
    if report.fixed:
        parts = sorted({f"{f.rule} {f.name} ({escape_unprintable(f.path)})" for f in report.fixed})
        yield from wrap_text(f"fixed: {_join_names(parts)}", "", "  ")


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
    members = report.members
    counts = {"added": members.added, "removed": members.removed, "changed": members.changed}
    parts = [f"{len(group)} {word}" for word, group in counts.items() if group]
    if not parts:
        return
    yield f"members: {', '.join(parts)}, {members.same} unchanged"
    for mark, colour, records in (("-", "red", members.removed), ("+", "green", members.added)):
        for record in records[:limit]:
            yield from _mark_lines(_format_member(record), mark, colour, paint)
        yield from _render_omitted(records, limit, mark)
    for changed in members.changed[:limit]:
        yield from _mark_lines(_format_changed_member(changed), "~", "yellow", paint)
    yield from _render_omitted(members.changed, limit, "~")


def _mark_lines(text: str, mark: str, colour: str, paint: Paint) -> list[str]:
    lines = wrap_text(text, "  ", "    ")
    # The mark goes in after wrapping, because a colour's escape sequence has no width.
    return [f"{paint(mark, colour)}{lines[0][1:]}", *lines[1:]]


def _render_omitted(records: Sequence[object], limit: int | None, mark: str) -> Iterator[str]:
    if limit is not None and len(records) > limit:
        yield f"{mark} … and {len(records) - limit} more (--verbose lists all)"


def _format_member(record: MemberRecord) -> str:
    if record.kind == "symlink":
        return f"{record.path} (symlink to {record.target})"
    return f"{record.path} ({format_size(record.size) if record.kind == 'file' else record.kind})"


def _format_changed_member(record: ChangedMemberRecord) -> str:
    has_moved = record.old_path != record.path
    name = f"{record.old_path} -> {record.path}" if has_moved else record.path
    if record.soname and not record.path.endswith(record.soname):
        name += f" ({record.soname})"
    parts = [_format_change(change) for change in record.changes if change.attribute != "path"]
    return f"{name}: {'; '.join(parts) or 'moved only'}"


def _format_change(change: ChangeRecord) -> str:
    old, new = change.old, change.new
    attribute = ATTRIBUTE_NAMES.get(change.attribute, change.attribute)
    if change.attribute == "content":
        return "content (same size)"
    if change.attribute == "size" and isinstance(old, int) and isinstance(new, int):
        sizes = format_size(old), format_size(new)
        return " -> ".join(sizes if sizes[0] != sizes[1] else (f"{old} B", f"{new} B"))
    if change.attribute == "symbols" and isinstance(old, tuple) and isinstance(new, tuple):
        removed = f"{format_count(len(old), 'symbol')} removed" if old else ""
        added = f"{format_count(len(new), 'symbol')} added" if new else ""
        return ", ".join(part for part in (removed, added) if part)
    if isinstance(old, tuple) or isinstance(new, tuple):
        return f"{attribute} {_format_name_changes(old, new)}"
    if change.attribute == "build-id":
        return f"{attribute} {_format_value(old)[:8]} -> {_format_value(new)[:8]}"
    return f"{attribute} {_format_value(old)} -> {_format_value(new)}"


def _format_name_changes(old: object, new: object) -> str:
    """Return the removed and the added names of a list, marked with - and +."""
    before, after = (names if isinstance(names, tuple) else () for names in (old, new))
    removed = [f"-{name}" for name in before if name not in after]
    added = [f"+{name}" for name in after if name not in before]
    return _join_names([*removed, *added]) or "in another order"


def _format_value(value: object) -> str:
    return "none" if value is None else str(value) or "(empty)"


def _join_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def format_size(number: int) -> str:
    """Return a number of bytes as text, in powers of 1000."""
    value, unit = float(number), 0
    while value >= 999.95 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {SIZE_UNITS[unit]}" if unit else f"{number} B"


def _render_result(report: DiffReport, paint: Paint) -> str:
    members = report.members
    differences = (*members.added, *members.removed, *members.changed, *report.resolutions)
    no_findings = "no regressions" if differences or report.fixed else "no differences"
    counts = format_counts(report.summary) or no_findings
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    verdict = paint("WORSE", "red") if report.failed else paint("not worse", "green")
    names = escape_unprintable(f"{report.old} -> {report.new}")
    return f"{names}: {verdict}: {counts}{ignored} ({format_duration(report.seconds)})"
