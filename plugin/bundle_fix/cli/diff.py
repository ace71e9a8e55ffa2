"""``bundle-fix diff``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.check.registry import ALL_RULES
from bundle_fix.cli.check_options import add_gate_options, glibc_option, read_gate_policy
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    PATH,
    add_message_options,
    choose_painter,
    host_option,
    spec_option,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.renderers import Style, convert_for_file, render_difference, render_step_summary
from bundle_fix.cli.report_file import append_summary, write_report
from bundle_fix.cli.status import compute_exit_code
from bundle_fix.cli.target_options import add_target_options, read_target
from bundle_fix.pipelines.compare import compare_artifacts
from bundle_fix.report.check_report import describe_rules
from bundle_fix.report.diff import convert_to_check_report, make_diff_report


@click.command(cls=CommandWithExamples)
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@spec_option
@host_option
@add_target_options
@add_limit_options
@add_gate_options
@glibc_option
@add_message_options
def diff(
    old: Path,
    new: Path,
    spec: Path | None,
    host_provides: tuple[str, ...],
    host_root: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    limits: Limits,
    fail_on: str | None,
    exit_zero: bool,
    ignores: tuple[str, ...],
    glibc: str | None,
    kind: str,
    output: Path | None,
    also: tuple[tuple[str, Path], ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Compare two packs and report regressions of NEW.

    OLD and NEW are tarballs, wheels, zip archives, directories or ELF files. The top directory of a
    pack does not matter. The report lists needed libraries that resolve to another file, removed
    symbols, newer versions required of the host, new findings of 'check', and changed files.

    Exit code: 0 no regression, 1 regressions ('bundle-fix rules' explains BF7xx), 2 an artifact or
    a spec cannot be read.
    """
    policy = read_gate_policy(spec, host_provides, fail_on, glibc, ignores)
    target = read_target(host_root, variables, level, policy.host, limits)
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    style = Style(
        "diff",
        kind,
        describe_rules(ALL_RULES),
        policy.fail_on,
        paint,
        verbose,
        quiet,
        exit_zero,
    )
    start = time.monotonic()
    with show_progress(quiet=quiet, color=color) as progress:
        difference = compare_artifacts(old, new, policy, target, progress)
    report = make_diff_report(str(old), str(new), difference, time.monotonic() - start)
    if output is not None or kind != "text" or report.failed or not quiet:
        write_report([render_difference(report, style)], output, kind)
    for other, file in also:
        write_report([render_difference(report, convert_for_file(style, other))], file, other)
    if kind == "github":
        append_summary(lambda: render_step_summary([convert_to_check_report(report)], style))
    return compute_exit_code([convert_to_check_report(report)], exit_zero=exit_zero)
