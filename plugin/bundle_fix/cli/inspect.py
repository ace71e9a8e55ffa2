"""``bundle-fix inspect``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.check_options import print_schema
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import PATH, PATH_TEXT, REPORT_PATH, add_message_options, choose_painter
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.report_file import write_report
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.progress import Progress
from bundle_fix.observe.comparison.pack_contents import PackContents
from bundle_fix.observe.comparison.packs import read_packs
from bundle_fix.observe.comparison.verdict import Verdict
from bundle_fix.observe.inspector import inspect_core, inspect_process
from bundle_fix.observe.running import NoProcessError, list_process_ids
from bundle_fix.report.inspection import (
    InspectReport,
    make_inspect_report,
    make_unreadable_report,
)
from bundle_fix.report.render.causes_text import Paint
from bundle_fix.report.render.inspection import (
    is_harmed,
    render_inspection,
    render_summary,
    render_verdict,
)
from bundle_fix.report.render.json import format_json, format_json_line

COMPARED = (Verdict.DISPLACED, Verdict.REPLACED, Verdict.CLEAN)
"""The verdicts on processes of a pack."""
UNREADABLE_CODE = 2
"""Exit code if a process or a core file could not be read."""


@click.command(cls=CommandWithExamples)
@click.argument("subjects", nargs=-1, type=PATH_TEXT, metavar="[PID|CORE...]")
@click.option("--all", "is_all", is_flag=True, help="Inspect all processes of this machine.")
@click.option(
    "--against",
    type=PATH,
    metavar="PACK",
    help="Compare with PACK: a pack, its manifest, or a directory of packs, of which the one with"
    " the most files of the process is chosen (default: the pack in whose directory the program"
    " is, by its manifest).",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "jsonl", "html"]),
    default="text",
    help="Set the format of the report (default: text).",
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_schema,
    help="Print the JSON Schema of the report and exit.",
)
@click.option("-o", "--output", type=REPORT_PATH, metavar="FILE", help="Write the report to FILE.")
@add_limit_options
@add_message_options
def inspect(
    subjects: tuple[str, ...],
    is_all: bool,
    against: Path | None,
    kind: str,
    output: Path | None,
    limits: Limits,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Show every object that a process or a core file has loaded, and from where.

    PID is a running process, which is neither stopped nor changed. CORE is a core file, also one
    that systemd has compressed; give ./NAME if its name is a number.

    Exit code: 0 success, 1 another copy of a library of the pack was loaded, or a file of the pack
    was replaced, or nothing is from PACK, 2 a process or a file cannot be read.
    """  # fmt: skip
    if is_all == bool(subjects):
        raise click.UsageError("give the number of a process, a core file, or --all")
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    with show_progress(quiet=quiet, color=color) as progress:
        packs = read_packs(against, limits, progress) if against is not None else []
        if is_all:
            reports = list(_inspect_all(packs))
            write_report(_render_all(reports, kind, paint, quiet=quiet), output, kind)
            return int(any(map(is_harmed, reports)))
        reports = [_inspect_one(subject, packs, limits, progress) for subject in subjects]
    readable = [report for report in reports if not report.error]
    if len(reports) > 1 or readable:
        write_report(
            _render_reports(reports, kind, paint, quiet=quiet, verbose=verbose), output, kind
        )
    for report in reports:
        if report.error:
            sys.stderr.write(f"bundle-fix: error: {escape_unprintable(report.error)}\n")
    if len(readable) < len(reports):
        return UNREADABLE_CODE
    return int(any(report.failed for report in reports))


def _render_reports(
    reports: Sequence[InspectReport], kind: str, paint: Paint, *, quiet: bool, verbose: bool
) -> Iterator[str]:
    if kind == "json":
        yield format_json(reports[0] if len(reports) == 1 else reports)
    elif kind == "jsonl":
        yield from map(format_json_line, reports)
    elif kind == "html":
        yield _render_inspection_page(reports)
    else:
        readable = [report for report in reports if not report.error]
        texts = [render_inspection(report, paint, verbose=verbose) for report in readable]
        if not quiet:
            yield "\n".join(texts)
        else:
            yield from (
                render_verdict(r, paint) for r in readable if r.verdict is not Verdict.CLEAN
            )


def _render_inspection_page(reports: Sequence[InspectReport]) -> str:
    from bundle_fix.report.html.pages.inspection_page import render_inspection_page

    return render_inspection_page(reports)


def _render_all(
    reports: Sequence[InspectReport], kind: str, paint: Paint, *, quiet: bool
) -> Iterator[str]:
    """Yield the report on all processes; the text leaves out those that no pack is known of."""
    if kind == "text":
        shown = (Verdict.DISPLACED, Verdict.REPLACED) if quiet else COMPARED
        yield from (render_verdict(r, paint) for r in reports if r.verdict in shown)
        yield "" if quiet else render_summary(reports)
    elif kind == "json":
        yield format_json(reports)
    elif kind == "html":
        yield _render_inspection_page([report for report in reports if report.verdict in COMPARED])
    else:
        yield from map(format_json_line, reports)


def _inspect_one(
    subject: str, packs: Sequence[PackContents], limits: Limits, progress: Progress
) -> InspectReport:
    try:
        if subject.isdecimal():
            return make_inspect_report(inspect_process(int(subject), packs))
        return make_inspect_report(inspect_core(Path(subject), packs, limits, progress))
    except BundleFixError as error:
        return make_unreadable_report(str(error))


def _inspect_all(packs: Sequence[PackContents]) -> Iterator[InspectReport]:
    """Yield the report on each process; threads of the kernel have none."""
    for pid in list_process_ids():
        try:
            yield make_inspect_report(inspect_process(pid, packs))
        except NoProcessError:
            continue
        except BundleFixError as error:
            yield make_unreadable_report(str(error))
