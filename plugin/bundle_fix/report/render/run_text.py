"""The text report on a run: the findings, then what was loaded and opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import RuleText
from bundle_fix.report.render.causes_text import (
    Paint,
    render_all_causes,
    render_causes,
    wrap_text,
)
from bundle_fix.report.render.text import MAX_LINES, format_counts, format_duration
from bundle_fix.report.run import RunReport, format_end
from bundle_fix.run.observation import Load, LoadOrigin, Prediction

ORIGIN_TEXTS = {
    LoadOrigin.PACK: "from the pack",
    LoadOrigin.DECOY: "from decoys",
    LoadOrigin.HOST: "from the host",
    LoadOrigin.PROGRAM: "written by the program",
    LoadOrigin.MISSING: "not found",
}
PREDICTION_TEXTS = {
    Prediction.PREDICTED: "",
    Prediction.RUN_TIME: ", at run time",
    Prediction.DIFFERENT: ", not predicted",
    Prediction.UNKNOWN: "",
}


def render_run(
    report: RunReport, rules: Mapping[str, RuleText], paint: Paint, *, verbose: bool
) -> str:
    """Render the report on a run.

    Args:
        report: the report.
        rules: the explanation of each rule, by code.
        paint: the function that colours a text, or returns it unchanged.
        verbose: list all loads and opened files.
    """
    lines = [_render_run_result(report, paint), _render_counts(report)]
    lines += _render_limits(report)
    if report.causes:
        arguments = report.causes, report.findings, rules, paint
        limit = MAX_LINES - len(lines) - 1
        text = render_all_causes(*arguments) if verbose else render_causes(*arguments, limit)
        lines += ["", *text]
    if verbose:
        lines += ["", *_render_details(report)]
    return "\n".join(lines) + "\n"


def _render_counts(report: RunReport) -> str:
    counts = ((report.count_loads(origin), text) for origin, text in ORIGIN_TEXTS.items())
    parts = [f"{count} {text}" for count, text in counts if count]
    return f"libraries apart from the C library: {', '.join(parts) or 'none'}"


def _render_details(report: RunReport) -> Iterator[str]:
    for load in report.loads:
        yield from wrap_text(_format_load(load), "  ", "      ")
    for title, paths in (
        ("opened files of the pack", report.opened_files),
        ("other opened files (strace)", report.host_files),
    ):
        if paths:
            yield f"{title}: {len(paths)}"
            yield from (f"  {escape_unprintable(path)}" for path in paths)


def _format_load(load: Load) -> str:
    found = load.path or "not found"
    return (
        f"{load.requester} ({load.call.value}) {load.name} -> {found}"
        f"{PREDICTION_TEXTS[load.prediction]}"
    )


def _render_limits(report: RunReport) -> Iterator[str]:
    if not report.complete:
        yield "the records are incomplete: a limit of the kernel or of bundle-fix was reached"


def _render_run_result(report: RunReport, paint: Paint) -> str:
    verdict = paint("FAILED", "red") if report.failed else paint("passed", "green")
    counts = format_counts(report.summary) or "no findings"
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    decoys = format_count(report.decoys, "decoy")
    size = f"{format_end(report)}, {decoys}, {format_duration(report.seconds)}"
    name = escape_unprintable(": ".join(filter(None, (report.artifact, report.program))))
    return f"{name}: {verdict}: {counts}{ignored} ({size})"
