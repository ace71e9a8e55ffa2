"""``bundle-fix inspect``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    add_message_options,
    choose_painter,
    parse_path,
    parse_report_path,
    parse_text,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.report_file import write_report
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress
from bundle_fix.observe.comparison.pack_contents import PackContents
from bundle_fix.observe.comparison.packs import read_packs
from bundle_fix.observe.inspection import inspect_core, inspect_process
from bundle_fix.observe.running import list_process_ids
from bundle_fix.report.inspection import InspectReport, make_inspect_report
from bundle_fix.report.render.inspection import render_inspection
from bundle_fix.report.render.json import format_json, format_json_line


def _print_schema(context: click.Context, _parameter: click.Parameter, is_set: bool) -> None:
    if is_set:
        from bundle_fix.report.schemas import build_inspect_schema

        sys.stdout.write(format_json(build_inspect_schema()))
        context.exit()


@click.command(short_help="show what a process or a core file has loaded, and from where")
@click.argument("subjects", nargs=-1, type=parse_text, metavar="[PID|CORE...]")
@click.option("--all", "is_all", is_flag=True, help="Inspect all processes of this machine.")
@click.option(
    "--against",
    type=parse_path,
    metavar="PACK",
    help="Compare with PACK: a pack, its manifest, or a directory of packs, of which the one with"
    " the most files of the process is chosen (default: the pack in whose directory the program"
    " is, by its manifest).",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    help="Set the format of the report (default: text).",
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of the report and exit.",
)
@click.option(
    "-o", "--output", type=parse_report_path, metavar="FILE", help="Write the report to FILE."
)
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
    was replaced, 2 a process or a file cannot be read.
    """  # fmt: skip
    if is_all == bool(subjects):
        raise click.UsageError("give the number of a process, a core file, or --all")
    with show_progress(quiet=quiet, color=color) as progress:
        packs = read_packs(against, limits, progress) if against is not None else []
        if is_all:
            reports = list(_inspect_all(packs))
        else:
            reports = [_inspect_one(subject, packs, limits, progress) for subject in subjects]
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    if kind == "json":
        pieces = [format_json(reports[0] if len(reports) == 1 and not is_all else reports)]
    elif kind == "jsonl":
        pieces = [format_json_line(report) for report in reports]
    else:
        pieces = [render_inspection(report, paint, quiet=quiet or is_all) for report in reports]
    write_report(pieces, output, kind)
    return int(any(report.failed for report in reports))


def _inspect_one(
    subject: str, packs: Sequence[PackContents], limits: Limits, progress: Progress
) -> InspectReport:
    if subject.isdecimal():
        return make_inspect_report(inspect_process(int(subject), packs))
    return make_inspect_report(inspect_core(Path(subject), packs, limits, progress))


def _inspect_all(packs: Sequence[PackContents]) -> Iterator[InspectReport]:
    for pid in list_process_ids():
        try:
            yield make_inspect_report(inspect_process(pid, packs))
        except BundleFixError:
            continue
