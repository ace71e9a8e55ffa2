"""The text report on two artifacts: what got worse first, then all that is different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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

SHOWN = 20
"""Members of one kind of change that are listed; ``--verbose`` lists all."""
NAMES = 6
"""Names in one list that are told."""
WORDS = {"runpath": "RUNPATH", "rpath": "RPATH", "requires": "required versions"}
UNITS = ("B", "kB", "MB", "GB", "TB")


def render_diff(
    report: DiffReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """The report on two artifacts.

    Args:
        report: what the comparison found.
        rules: what there is to say of each rule, by code.
        paint: colours words, or leaves them as they are.
        verbose: list everything.
    """
    lines = list(render_findings(report.findings, rules, paint, verbose=verbose))
    blocks = (
        _better(report, paint),
        _wanted(report),
        _members(report, paint, None if verbose else SHOWN),
    )
    for block in map(list, blocks):
        lines += [*block, ""] if block else []
    lines.append(_total(report, paint))
    return "\n".join(lines) + "\n"


def _better(report: DiffReport, paint: Paint) -> Iterator[str]:
    better = [r for r in report.resolutions if not r.worse]
    if better:
        yield paint("better", "green") + ": needed names that lead to something better now"
        for one in better:
            yield from wrap_text(_resolution(one), "  ", "      ")
    if report.fixed:
        told = sorted({f"{f.rule} {f.name} ({escape_unprintable(f.path)})" for f in report.fixed})
        yield from wrap_text(f"fixed: {_some(told)}", "", "  ")


def _resolution(one: ResolutionRecord) -> str:
    return f"{one.needed_by} needs {one.needed}: {_told(one.old)} -> {_told(one.new)}"


def _told(end: ResolvedFileRecord) -> str:
    if end.path is None:
        return "found nowhere"
    return f"{'the host' if end.origin == 'host' else 'the pack'}'s {end.path}"


def _wanted(report: DiffReport) -> Iterator[str]:
    """The newest versions wanted of the host, where they changed."""
    for family, wanted in report.required_versions.items():
        if wanted.old != wanted.new:
            who = f" ({wanted.path})" if wanted.path else ""
            text = f"newest {family} wanted: {wanted.old or 'none'} -> {wanted.new or 'none'}{who}"
            yield from wrap_text(text, "", "  ")


def _members(report: DiffReport, paint: Paint, most: int | None) -> Iterator[str]:
    members = report.members
    counts = {"added": members.added, "removed": members.removed, "changed": members.changed}
    told = [f"{len(group)} {word}" for word, group in counts.items() if group]
    if not told:
        return
    yield f"members: {', '.join(told)}, {members.same} the same"
    for mark, colour, lone in (("-", "red", members.removed), ("+", "green", members.added)):
        for one in lone[:most]:
            text = wrap_text(_lone(one), "  ", "    ")
            yield from (_marked(text, mark, colour, paint))
        yield from _left(lone, most, mark)
    for changed in members.changed[:most]:
        yield from _marked(wrap_text(_changed(changed), "  ", "    "), "~", "yellow", paint)
    yield from _left(members.changed, most, "~")


def _marked(lines: list[str], mark: str, colour: str, paint: Paint) -> list[str]:
    return [f"{paint(mark, colour)}{lines[0][1:]}", *lines[1:]]


def _left(all_: Sequence[object], most: int | None, mark: str) -> Iterator[str]:
    if most is not None and len(all_) > most:
        yield f"{mark} … and {len(all_) - most} more (--verbose lists all)"


def _lone(one: MemberRecord) -> str:
    if one.kind == "symlink":
        return f"{one.path} (a link to {one.target})"
    return f"{one.path} ({format_size(one.size) if one.kind == 'file' else one.kind})"


def _changed(one: ChangedMemberRecord) -> str:
    name = f"{one.old_path} -> {one.path}" if one.old_path != one.path else one.path
    library = f" ({one.soname})" if one.soname and not one.path.endswith(one.soname) else ""
    told = [_change(change) for change in one.changes if change.attribute != "path"]
    return f"{name}{library}: {'; '.join(told) or 'only moved'}"


def _change(change: ChangeRecord) -> str:
    old, new, what = change.old, change.new, WORDS.get(change.attribute, change.attribute)
    if change.attribute == "content":
        return "other bytes of the same size"
    if change.attribute == "size" and isinstance(old, int) and isinstance(new, int):
        sizes = format_size(old), format_size(new)
        return " -> ".join(sizes if sizes[0] != sizes[1] else (f"{old} B", f"{new} B"))
    if change.attribute == "symbols" and isinstance(old, tuple) and isinstance(new, tuple):
        lost = f"lost {format_count(len(old), 'symbol')}" if old else ""
        more = f"{format_count(len(new), 'new symbol')}" if new else ""
        return ", ".join(part for part in (lost, more) if part)
    if isinstance(old, tuple) or isinstance(new, tuple):
        return f"{what} {_names(old, new)}"
    if change.attribute == "build-id":
        return f"{what} {_value(old)[:8]} -> {_value(new)[:8]}"
    return f"{what} {_value(old)} -> {_value(new)}"


def _names(old: object, new: object) -> str:
    """Which names of a list went and which came."""
    before, after = (names if isinstance(names, tuple) else () for names in (old, new))
    gone = [f"-{name}" for name in before if name not in after]
    come = [f"+{name}" for name in after if name not in before]
    return _some([*gone, *come]) or "in another order"


def _value(value: object) -> str:
    return "none" if value is None else str(value) or "(empty)"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more


def format_size(number: int) -> str:
    """Bytes as people read them, in powers of a thousand."""
    value, unit = float(number), 0
    while value >= 999.95 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {UNITS[unit]}" if unit else f"{number} B"


def _total(report: DiffReport, paint: Paint) -> str:
    members = report.members
    different = (*members.added, *members.removed, *members.changed, *report.resolutions)
    nothing = "nothing got worse" if different or report.fixed else "nothing is different"
    counts = format_counts(report.summary) or nothing
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    verdict = paint("WORSE", "red") if report.failed else paint("no worse", "green")
    names = escape_unprintable(f"{report.old} -> {report.new}")
    return f"{names}: {verdict}: {counts}{ignored} ({format_duration(report.seconds)})"
