"""The text report on two artifacts: the verdict, the regressions, then all other differences."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.library_names import strip_version_numbers
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_bytes, format_count, join_names
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.diff import (
    ChangedMemberRecord,
    ChangeRecord,
    DiffReport,
    MemberChangesRecord,
    MemberRecord,
    ResolutionRecord,
    ResolvedFileRecord,
)
from bundle_fix.report.render.causes_text import (
    Paint,
    render_all_causes,
    render_causes,
    wrap_text,
)
from bundle_fix.report.render.text import MAX_LINES, format_counts, format_duration

MAX_CAUSES = 24
"""Limit on the lines about regressions, without ``--verbose``."""
MAX_IMPROVEMENTS = 3
"""Limit on the listed needed names that resolve to a better file, without ``--verbose``."""
MIN_MEMBERS = 5
"""Lines about changed members that are printed in any case."""
MAX_NAMES = 6
"""Limit on the names in one list, also with ``--verbose``."""
ATTRIBUTE_NAMES = {"runpath": "RUNPATH", "rpath": "RPATH", "requires": "required versions"}


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
        block = _mark_lines(*change, paint)
        shown += len(block)
        if limit is not None and shown > limit:
            yield f"… and {len(changes) - number} more (-v lists all)"
            return
        yield from block


def list_member_changes(members: MemberChangesRecord) -> Iterator[tuple[str, str, str]]:
    """Yield the text, the mark and its colour for each change; a rename is one change."""
    renames = _find_renamed_directories(members)
    new_paths = set(renames.values())
    for record in members.removed:
        if record.path not in renames:
            yield _format_member(record), "-", "red"
    for record in members.added:
        if record.path not in new_paths:
            yield _format_member(record), "+", "green"
    for old, new in renames.items():
        if (posixpath.dirname(old), posixpath.dirname(new)) not in renames.items():
            yield f"{_format_rename(old, new)} (directory)", "~", "yellow"
    for changed in members.changed:
        before, after = posixpath.split(changed.old_path), posixpath.split(changed.path)
        is_in_renamed = renames.get(before[0]) == after[0] and before[1] == after[1]
        if not (is_in_renamed and [c.attribute for c in changed.changes] == ["path"]):
            yield _format_changed_member(changed, is_renamed=not is_in_renamed), "~", "yellow"


def _find_renamed_directories(members: MemberChangesRecord) -> dict[str, str]:
    """Return the new path of each directory whose name differs in version numbers only.

    Directories of which several have the same name without these numbers are not paired.
    """
    removed, added = map(_group_directories, (members.removed, members.added))
    pairs = ((old, added.get(name, [])) for name, old in removed.items())
    return {old[0]: new[0] for old, new in pairs if len(old) == len(new) == 1}


def _group_directories(records: Iterable[MemberRecord]) -> dict[str, list[str]]:
    """Return the paths of directories, by their names without version numbers."""
    paths: dict[str, list[str]] = {}
    for record in records:
        if record.kind == "directory":
            paths.setdefault(strip_version_numbers(record.path), []).append(record.path)
    return paths


def _format_rename(old: str, new: str) -> str:
    """Return both paths, without the directory of the second one if it is the same."""
    same = posixpath.dirname(old) == posixpath.dirname(new)
    return f"{old} -> {posixpath.basename(new) if same else new}"


def _mark_lines(text: str, mark: str, colour: str, paint: Paint) -> list[str]:
    lines = wrap_text(text, "  ", "    ")
    # The mark goes in after wrapping, because a colour's escape sequence has no width.
    return [f"{paint(mark, colour)}{lines[0][1:]}", *lines[1:]]


def _format_member(record: MemberRecord) -> str:
    if record.kind == "symlink":
        return f"{record.path} (symlink to {record.target})"
    return f"{record.path} ({format_bytes(record.size) if record.kind == 'file' else record.kind})"


def _format_changed_member(record: ChangedMemberRecord, *, is_renamed: bool) -> str:
    has_moved = is_renamed and record.old_path != record.path
    name = _format_rename(record.old_path, record.path) if has_moved else record.path
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
        sizes = format_bytes(old), format_bytes(new)
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
    return join_names([*removed, *added], MAX_NAMES) or "in another order"


def _format_value(value: object) -> str:
    return "none" if value is None else str(value) or "(empty)"


def _render_result(report: DiffReport, paint: Paint) -> str:
    members = report.members
    differences = (*members.added, *members.removed, *members.changed, *report.resolutions)
    no_findings = "no regressions" if differences or report.fixed else "no differences"
    counts = format_counts(report.summary) or no_findings
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    verdict = paint("WORSE", "red") if report.failed else paint("not worse", "green")
    names = escape_unprintable(f"{report.old} -> {report.new}")
    return f"{names}: {verdict}: {counts}{ignored} ({format_duration(report.seconds)})"
