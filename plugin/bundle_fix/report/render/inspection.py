"""Text of the report on a process or a core file: the verdict first, then every object."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.observe.comparison.verdict import (
    DisplacementReason,
    ObservedOrigin,
    Replacement,
    Verdict,
)
from bundle_fix.report.inspection import InspectedObjectRecord, InspectReport
from bundle_fix.report.render.causes_text import Paint

VERDICT_COLOURS: Mapping[Verdict, str] = {
    Verdict.CLEAN: "green",
    Verdict.DISPLACED: "red",
    Verdict.REPLACED: "red",
    Verdict.UNRELATED: "red",
    Verdict.NO_PACK: "yellow",
    Verdict.UNREADABLE: "red",
}
ORIGIN_TEXTS: Mapping[ObservedOrigin, str] = {
    ObservedOrigin.PACK: "pack",
    ObservedOrigin.OTHER_PACK: "other pack",
    ObservedOrigin.ADDED: "added file",
    ObservedOrigin.HOST: "host",
    ObservedOrigin.MEMFD: "memfd",
    ObservedOrigin.KERNEL: "kernel",
}
REPLACEMENT_TEXTS: Mapping[Replacement, str] = {
    Replacement.DELETED: "removed or replaced on disk since it was loaded",
    Replacement.CHANGED: "another build-id on disk than in memory",
    Replacement.OTHER_BUILD: "another build-id than the pack's file",
}


def render_inspection(report: InspectReport, paint: Paint, *, verbose: bool) -> str:
    """Return the verdict, its evidence and every object; if ``verbose``, with its search."""
    root = report.pack.root if report.pack is not None else None
    where = f", {report.pack.name} in {root}" if report.pack is not None and root else ""
    lines = [
        escape_unprintable(f"objects in load order{where}:"),
        *_render_objects(report, paint, verbose=verbose),
        *map(escape_unprintable, describe_differences(report)),
        *(escape_unprintable(f"note: {remark}") for remark in report.remarks),
    ]
    return render_verdict(report, paint) + "\n" + "\n".join(lines) + "\n"


def render_verdict(report: InspectReport, paint: Paint) -> str:
    """Return the verdict and its evidence."""
    return "\n".join(_render_verdict(report, paint)) + "\n"


def render_summary(reports: Sequence[InspectReport]) -> str:
    """Return the line that ends the text on all processes."""
    failed = sum(is_harmed(report) for report in reports)
    packed = sum(report.verdict is Verdict.CLEAN for report in reports) + failed
    unreadable = sum(bool(report.error) for report in reports)
    text = f"{format_count(len(reports), 'process', 'processes')}: {packed} of a pack"
    text += f", {failed} with displaced or replaced files"
    return text + (f", {unreadable} could not be read\n" if unreadable else "\n")


def is_harmed(report: InspectReport) -> bool:
    """Return whether something of the pack was displaced or replaced."""
    return report.verdict in (Verdict.DISPLACED, Verdict.REPLACED)


def _render_verdict(report: InspectReport, paint: Paint) -> Iterator[str]:
    word = paint(format_verdict_word(report.verdict), VERDICT_COLOURS[report.verdict])
    yield f"{word}: {escape_unprintable(describe_verdict(report))}"
    yield from map(escape_unprintable, describe_evidence(report))


def format_verdict_word(verdict: Verdict) -> str:
    """Return a verdict in capitals."""
    return verdict.value.replace("_", " ").upper()


def describe_evidence(report: InspectReport) -> Iterator[str]:
    """Yield the indented lines after a verdict; names are as they are."""
    malloc = report.malloc
    displaced = [o for o in report.objects if o.displaces]
    # The allocator comes first: a wrong one ends in aborts far from their cause.
    for o in sorted(displaced, key=lambda o: malloc is None or o.path != malloc.path):
        yield from _describe_displacement(o)
    for o in report.objects:
        if o.replaced and (o.origin is ObservedOrigin.PACK or o.displaces):
            place = o.member or o.path or o.name
            yield f"  {place}: {REPLACEMENT_TEXTS[o.replaced]}"
    if malloc is not None:
        doubt = "" if malloc.certain else ", judging by its name"
        origin = ORIGIN_TEXTS[malloc.origin]
        yield f"  malloc is that of {malloc.path} ({origin}{doubt})"


def describe_verdict(report: InspectReport) -> str:
    """Return the process and what of the pack it loaded, as text after the word of the verdict."""
    subject = describe_subject(report)
    if report.pack is None:
        return f"{subject}: {format_count(len(report.objects), 'object')}, compared with no pack"
    own = sum(o.origin is ObservedOrigin.PACK for o in report.objects)
    pack = report.pack.name
    if report.verdict is Verdict.UNRELATED:
        return f"{subject}: none of its {len(report.objects)} objects is from {pack}"
    if report.verdict is Verdict.CLEAN:
        return f"{subject}: {format_count(own, 'object')} from {pack}, none displaced or replaced"
    if report.verdict is Verdict.DISPLACED:
        count = sum(o.displaces is not None for o in report.objects)
        names = format_count(count, "library", "libraries")
        return f"{subject} loaded another copy of {names} of {pack}"
    count = sum(o.replaced is not None for o in report.objects if o.origin is ObservedOrigin.PACK)
    return f"{subject}: {format_count(count, 'file')} of {pack} replaced"


def describe_subject(report: InspectReport) -> str:
    """Return the process in a few words: number, program, and how it ended."""
    program = posixpath.basename(report.program or report.command.partition(" ")[0]) or "?"
    if report.core is None:
        return f"process {report.pid} ({program})"
    ended = f" ({report.signal})" if report.signal else ""
    number = f" {report.pid}" if report.pid else ""
    return f"core of {program}{number}{ended}"


def _describe_displacement(o: InspectedObjectRecord) -> Iterator[str]:
    rule = f" ({o.rule.text})" if o.rule is not None else ""
    yield f"  loaded:     {o.path or o.name}{rule}"
    reason = ""
    if o.reason is DisplacementReason.OTHER_NAME:
        name = posixpath.basename(o.name) or o.soname or ""
        reason = f" (no file of the pack is named {name})"
    yield f"  not loaded: {o.displaces} of the pack{reason}"
    if o.rule is not None and len(o.rule.steps) > 1:
        yield from _number_steps(o.rule.steps)


def _number_steps(steps: Sequence[str]) -> Iterator[str]:
    return (escape_unprintable(f"    {number}. {step}") for number, step in enumerate(steps, 1))


def _render_objects(report: InspectReport, paint: Paint, *, verbose: bool) -> Iterator[str]:
    has_link_map = any(o.namespace == 0 for o in report.objects)
    for o in report.objects:
        origin = ORIGIN_TEXTS[o.origin]
        colour = "green" if o.origin is ObservedOrigin.PACK else "yellow"
        place = escape_unprintable(o.member or o.path or o.name or "[vdso]")
        painted = paint(origin.ljust(10), "red" if o.displaces else colour)
        yield f"  {painted} {place}{_format_details(o, has_link_map)}"
        if verbose and o.rule is not None:
            yield from _number_steps(o.rule.steps)


def describe_differences(report: InspectReport) -> Iterator[str]:
    """Yield a sentence for each library for which the model predicts another file."""
    for d in report.differences:
        if d.observed is None:
            yield f"model: {d.name}: {d.predicted} is predicted, but not loaded"
        elif d.predicted is None:
            yield f"model: {d.name}: it is not found, but {d.observed} is loaded"
        else:
            yield f"model: {d.name}: {d.predicted} is predicted, but {d.observed} is loaded"


def _format_details(o: InspectedObjectRecord, has_link_map: bool) -> str:
    details: Sequence[str] = [
        *([f"build-id {o.build_id}"] if o.build_id else ["no build-id"]),
        *([o.rule.text] if o.rule is not None else []),
        *([f"namespace {o.namespace}"] if o.namespace else []),
        *(["in no link map"] if has_link_map and o.namespace is None and o.path else []),
        *([f"of {o.other_pack}"] if o.other_pack else []),
        *([f"instead of {o.displaces}"] if o.displaces else []),
        *([REPLACEMENT_TEXTS[o.replaced]] if o.replaced else []),
    ]
    return escape_unprintable(f" [{'; '.join(details)}]")
