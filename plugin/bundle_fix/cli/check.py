"""``bundle-fix check``."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.cli.artifact_list import list_artifacts
from bundle_fix.cli.check_options import add_gate_options, glibc_option, read_gate_policy
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options, list_limit_options
from bundle_fix.cli.options import (
    PATH,
    add_message_options,
    choose_painter,
    define_option,
    host_like_this_option,
    host_option,
    spec_option,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.renderers import Style, convert_for_file, render_reports, render_step_summary
from bundle_fix.cli.report_file import append_summary, write_report
from bundle_fix.cli.status import compute_exit_code
from bundle_fix.cli.target_options import add_target_options, read_target
from bundle_fix.model.errors import BundleFixError, describe_os_error
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.wording import format_count
from bundle_fix.pipelines.check import check_artifact
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.baseline import Baseline, drop_known_findings, read_baseline
from bundle_fix.report.check_report import (
    CheckReport,
    describe_rules,
    make_check_report,
    make_error_report,
    strip_findings,
)
from bundle_fix.subprocesses.processors import count_cores


@click.command(cls=CommandWithExamples)
@click.argument("artifacts", nargs=-1, required=True, type=PATH, metavar="ARTIFACT...")
@spec_option
@define_option
@host_option
@add_target_options
@add_limit_options
@host_like_this_option
@add_gate_options
@glibc_option
@click.option(
    "--allow-empty",
    is_flag=True,
    help="Pass artifacts without programs and libraries, in which nothing can be checked.",
)
@click.option(
    "--baseline",
    type=PATH,
    metavar="FILE",
    help="Ignore the findings of an earlier report FILE (json or jsonl).",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    default=None,
    help="Check this number of artifacts in parallel (default: the number of cores).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="SECONDS",
    help="Stop the check of an artifact after SECONDS.",
)
@add_message_options
def check(
    artifacts: tuple[Path, ...],
    spec: Path | None,
    defines: tuple[str, ...],
    host_provides: tuple[str, ...],
    host_root: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    limits: Limits,
    host_like_this: bool,
    fail_on: str | None,
    exit_zero: bool,
    ignores: tuple[str, ...],
    allow_empty: bool,
    baseline: Path | None,
    glibc: str | None,
    kind: str,
    output: Path | None,
    also: tuple[tuple[str, Path], ...],
    jobs: int | None,
    timeout: float | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Check which file each needed library of a pack resolves to.

    The check simulates the dynamic loader on a host with an older copy of each library, or on
    --host. An ARTIFACT is a tarball, a wheel, a zip archive, a directory or an ELF file; '-' reads
    a list from stdin, one path per line or NUL-terminated ('find -print0').

    Exit code: 0 success, 1 findings, 2 an artifact or a spec cannot be read (other artifacts are
    still checked).
    """
    gate = read_gate_policy(spec, host_provides, fail_on, glibc, ignores, defines)
    policy = replace(gate, allow_empty=allow_empty)
    target = read_target(
        host_root, variables, level, policy.host, limits, like_this_machine=host_like_this
    )
    known = read_baseline(baseline) if baseline else None
    others = (
        defines, host_root, variables, level, host_like_this, fail_on, ignores, allow_empty, glibc,
    )  # fmt: skip
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    style = Style(
        "check", kind, describe_rules(CHECK_RULES), policy.fail_on, paint, verbose, quiet, exit_zero
    )
    paths = list_artifacts(artifacts)
    is_drawn = "html" in (kind, *(other for other, _ in also))
    make_report = partial(
        _make_report, policy=policy, target=target, baseline=known,
        fix_options=_list_fix_options(spec, host_provides, limits), is_as_in_fix=not any(others),
        drawn=len(paths) if is_drawn else 0,
    )  # fmt: skip
    found: list[CheckReport] = []
    keep_findings = bool(also) or kind == "github"
    with show_progress(quiet=quiet, color=color) as display:
        reports = _check_all(paths, make_report, jobs or count_cores(), timeout, display)
        on_terminal = output is None and _may_be_on_a_terminal(sys.stdout)
        clear_line = display.hide if on_terminal else lambda: None
        recorded = _record_reports(reports, clear_line, found, keep_findings=keep_findings)
        # The error of a single artifact is printed to stderr; once is enough on a terminal.
        errors = output is not None or len(paths) > 1
        write_report(render_reports(recorded, style, errors=errors), output, kind)
    for other, file in also:
        write_report(
            render_reports(found, convert_for_file(style, other), errors=True), file, other
        )
    if kind == "github":
        append_summary(lambda: render_step_summary(found, style))
    for report in found:
        if report.error:
            sys.stderr.write(f"bundle-fix: error: {escape_unprintable(report.error)}\n")
    return compute_exit_code(found, exit_zero=exit_zero)


def _list_fix_options(spec: Path | None, host_provides: Sequence[str], limits: Limits) -> list[str]:
    """Return the options of this command that ``fix`` has as well."""
    options = [f"--spec={spec}"] if spec else []
    options += [f"--host-provides={pattern}" for pattern in host_provides]
    return [*options, *list_limit_options(limits)]


def _make_report(
    path: Path,
    progress: Progress = no_progress,
    *,
    policy: CheckPolicy,
    target: Target,
    baseline: Baseline | None,
    fix_options: Sequence[str],
    is_as_in_fix: bool,
    drawn: int,
) -> CheckReport:
    """Check one artifact and return the report, which has the error if there is one.

    ``is_as_in_fix`` is whether ``fix`` checks its result in the same way: only then is it known
    whether it needs ``--force``.
    ``drawn`` is the number of artifacts in one HTML document, 0 if there is none.
    """
    start = time.monotonic()
    facts: FactCache = {}
    overview = None
    try:
        with open_on_target(path, target, progress) as artifact:
            result = check_artifact(artifact, policy, facts, progress)
            result = replace(result, fails_after_fix=result.fails_after_fix and is_as_in_fix)
            if drawn:
                from bundle_fix.report.graphs.overview import make_overview

                overview = make_overview(artifact, policy, facts, drawn)
    except BundleFixError as error:
        return make_error_report(str(path), str(error))
    except MemoryError:
        return make_error_report(str(path), f"{path}: not enough memory")
    except OSError as error:
        return make_error_report(str(path), f"{path}: {describe_os_error(error)}")
    report = make_check_report(str(path), result, time.monotonic() - start, fix_options)
    if overview is not None:
        from bundle_fix.report.graphs.drawn_report import add_overview

        report = add_overview(report, overview)
    if baseline is None:
        return report
    return drop_known_findings(
        report, baseline.find_known_findings(report.artifact), policy.fail_on
    )


def _check_all(
    paths: list[Path],
    make_report: Callable[..., CheckReport],
    jobs: int,
    timeout: float | None,
    progress: Progress,
) -> Iterator[CheckReport]:
    """Return the reports, in order; several artifacts are checked in parallel."""
    if len(paths) == 1 and timeout is None:
        return (make_report(path, progress) for path in paths)
    return _check_in_parallel(paths, make_report, jobs, timeout, progress)


def _may_be_on_a_terminal(stream: IO[str]) -> bool:
    """Return whether ``stream`` is a terminal, or a pipe that may end at one, such as `less`."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except OSError:
        return True
    return stream.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _check_in_parallel(
    paths: list[Path],
    make_report: Callable[[Path], CheckReport],
    jobs: int,
    timeout: float | None,
    progress: Progress,
) -> Iterator[CheckReport]:
    # Imported here once, and not in every worker: it reads .tar.gz, the most common format.
    import isal.igzip_threaded  # noqa: F401

    from bundle_fix.cli.parallel import check_many

    size = 0
    for path in paths:
        with suppress(OSError, ValueError):
            size += path.stat().st_size
    step = ProgressStep("checking", size, format_count(len(paths), "artifact"), len(paths))
    report_progress = partial(progress, step)
    report_progress(0)
    return check_many(paths, make_report, jobs, timeout, report_progress)


def _record_reports(
    reports: Iterable[CheckReport],
    clear_line: Callable[[], None],
    found: list[CheckReport],
    *,
    keep_findings: bool,
) -> Iterator[CheckReport]:
    """Yield each report as it arrives, after a call of ``clear_line``, and append it to ``found``.

    Unless ``keep_findings`` is set, ``found`` gets reports without findings, to save memory.
    """
    for report in reports:
        found.append(report if keep_findings else strip_findings(report))
        clear_line()
        yield report
