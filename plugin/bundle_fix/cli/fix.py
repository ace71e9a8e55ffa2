"""``bundle-fix fix``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.check.registry import CHECK_RULES, RULES_BY_CODE
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.coverage import NOTHING_CHECKED
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    add_message_options,
    choose_painter,
    editor_option,
    force_option,
    host_option,
    parse_artifact_output,
    parse_path,
    parse_text,
    print_message,
    spec_option,
)
from bundle_fix.cli.policy_options import read_policy
from bundle_fix.cli.progress import show_progress
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import format_count
from bundle_fix.pipelines.apply import Action
from bundle_fix.pipelines.fix import (
    FixResult,
    Options,
    dry_run_fix,
    fix_artifact,
    get_default_output,
    is_same_path,
)
from bundle_fix.report.check_report import describe_rules, forget_fix, make_check_report
from bundle_fix.report.render.text import render_text


@click.command(short_help="repair a tarball or a directory")
@click.argument("artifact", type=parse_path)
@click.option(
    "-o",
    "--output",
    type=parse_artifact_output,
    metavar="OUT",
    help="Write the result to OUT, a file or a directory (default: NAME.fixed.EXT beside"
    " ARTIFACT).",
)
@click.option("--in-place", is_flag=True, help="Replace ARTIFACT with the result.")
@click.option("--dry-run", is_flag=True, help="Print the changes without writing anything.")
@click.option(
    "--move-libraries",
    type=parse_text,
    metavar="DIR",
    help="Move libraries that are beside programs to DIR of the pack and leave symlinks.",
)
@force_option
@spec_option
@host_option
@editor_option
@add_limit_options
@add_message_options
def fix(
    artifact: Path,
    output: Path | None,
    in_place: bool,
    dry_run: bool,
    move_libraries: str | None,
    force: bool,
    spec: Path | None,
    host_provides: tuple[str, ...],
    editor: str | None,
    limits: Limits,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Repair a tarball or a directory so that its programs load the bundled libraries.

    The repair changes only what a finding of 'check' asks for: it adds missing soname symlinks,
    adds and removes RUNPATH entries and repairs file modes. The output is written only if the check
    of the result passes.

    Exit code: 0 success, 1 the check failed, 2 invalid request.
    """
    if in_place and output is not None:
        raise click.UsageError("--in-place and -o exclude each other")
    policy, pinned = read_policy(spec, host_provides)
    # No repair changes the glibc that a wheel needs: 'check' reports a wrong tag.
    policy = replace(policy, trust_wheel_tag=True)
    options = Options(policy, pinned, editor or "auto", force, move_libraries or "", limits)
    if dry_run:
        with show_progress(quiet=quiet, color=color) as progress:
            result = dry_run_fix(artifact, options, progress)
    else:
        if output is not None and output.is_dir():
            output /= Path(os.path.realpath(artifact)).name
        target = artifact if in_place else output or get_default_output(artifact)
        if not in_place and is_same_path(target, artifact):
            raise BundleFixError(
                "the output is the input", where=str(target), hint="use --in-place to replace it"
            )
        with show_progress(quiet=quiet, color=color) as progress:
            result = fix_artifact(artifact, target, options, progress)
    print_result(artifact, result, dry_run=dry_run, quiet=quiet, verbose=verbose, color=color)
    if result.written is not None:
        sys.stdout.write(f"{result.written}\n")
    return 1 if result.failed else 0


def print_result(
    artifact: Path, result: FixResult, *, dry_run: bool, quiet: bool, verbose: bool, color: str
) -> None:
    """Print the changes, and the findings of the check of the result, to stderr."""
    for line in _format_actions(result.applied.actions, verbose=verbose):
        print_message(escape_unprintable(line), quiet=quiet)
    for remark in result.applied.remarks:
        print_message(escape_unprintable(remark), quiet=quiet)
    for refusal in result.applied.refusals:
        sys.stderr.write(f"bundle-fix: error: {escape_unprintable(refusal)}\n")
    if not result.applied.actions and not result.applied.refusals:
        print_message(f"{escape_unprintable(str(artifact))}: nothing to fix", quiet=quiet)
    for finding in result.verdict.findings:
        if finding.rule == NOTHING_CHECKED.code:
            print_message(escape_unprintable(f"{artifact}: {finding.message}"), quiet=quiet)
    if result.before is not None and result.before.findings and result.applied.actions:
        before, after = _format_summary(result.before), _format_summary(result.verdict)
        print_message(f"before: {before}; after: {after}", quiet=quiet)
    if result.verdict.failed or (verbose and not quiet):
        paint = choose_painter(color, is_terminal=sys.stderr.isatty())
        report = forget_fix(make_check_report(str(artifact), result.verdict))
        text = render_text(report, describe_rules(CHECK_RULES), paint, verbose=verbose)
        sys.stderr.write(f"\n{text}")
    if result.failed and result.written is None and not dry_run:
        print_message(
            "no output was written; use --force to write it despite the findings", quiet=quiet
        )


def _format_summary(result: CheckResult) -> str:
    """Return the number of errors and warnings of a check."""
    summary = result.summary
    return (
        f"{format_count(summary['error'], 'error')}, {format_count(summary['warning'], 'warning')}"
    )


def _format_actions(actions: Iterable[Action], *, verbose: bool) -> Iterator[str]:
    """Yield the changes below the rules whose findings ask for them."""
    groups: dict[tuple[str, ...], list[Action]] = {}
    for action in actions:
        groups.setdefault(action.rules, []).append(action)
    for rules, members in groups.items():
        indent = ""
        if rules:
            yield ", ".join(f"{code} {RULES_BY_CODE[code].name}" for code in rules) + ":"
            indent = "  "
        for action in members:
            editor = f" [{action.editor}]" if verbose and action.editor else ""
            yield f"{indent}{action.path}: {action.change}{editor}"
            for reason in action.skipped if verbose else ():
                yield f"{indent}{action.path}: skipped {reason}"
