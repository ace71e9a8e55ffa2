"""``bundle-fix check``."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.cli.check_options import add_gate_options, read_gate_policy
from bundle_fix.cli.options import (
    ArtifactPath,
    add_limit_options,
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
from bundle_fix.cli.target import Target, add_target_options, open_on_target, read_target
from bundle_fix.loader.hosts.host import AdversarialHost
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.wording import format_count
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import (
    CheckReport,
    describe_rules,
    make_check_report,
    make_error_report,
    strip_findings,
)
from bundle_fix.subprocesses.processors import count_cores

STDIN = Path("-")


@click.command(short_help="check which file each needed library resolves to")
@click.argument("artifacts", nargs=-1, required=True, type=ArtifactPath, metavar="ARTIFACT...")
@spec_option
@define_option
@host_option
@add_target_options
@add_limit_options
@host_like_this_option
@add_gate_options
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ignore the findings of an earlier report FILE (json or jsonl).",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
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
    policy = read_gate_policy(spec, host_provides, fail_on, glibc, ignores, defines)
    target = read_target(host_root, variables, level, policy.host, limits)
    drop_known = _load_baseline_filter(baseline, policy.fail_on)
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    style = Style(
        "check", kind, describe_rules(CHECK_RULES), policy.fail_on, paint, verbose, quiet, exit_zero
    )

    def check_one(path: Path, progress: Progress = no_progress) -> CheckReport:
        run_check = partial(check_artifact, path, policy, target, progress)
        return report_errors(path, lambda: drop_known(run_check(host_like_this=host_like_this)))

    paths = list(_list_artifacts(artifacts))
    if not paths:
        raise BundleFixError(
            "the list of artifacts is empty", where="stdin", hint="give at least one path"
        )
    found: list[CheckReport] = []
    whole = bool(also) or kind == "github"
    with show_progress(quiet=quiet, color=color) as display:
        reports: Iterator[CheckReport]
        if len(paths) == 1 and timeout is None:
            reports = (check_one(path, display) for path in paths)
        else:
            reports = _check_in_parallel(paths, check_one, jobs or count_cores(), timeout, display)
        on_terminal = output is None and _may_be_on_a_terminal(sys.stdout)
        clear_line = display.hide if on_terminal else lambda: None
        recorded = _record_reports(reports, clear_line, found, whole=whole)
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


def check_artifact(
    path: Path,
    policy: CheckPolicy,
    target: Target,
    progress: Progress = no_progress,
    *,
    host_like_this: bool = False,
) -> CheckReport:
    """Check one artifact.

    Args:
        path: The artifact.
        policy: The policy of the spec and the options.
        target: The options for the target.
        progress: Callback for progress.
        host_like_this: Assume that the target provides the libraries in this machine's default
            directories.

    Raises:
        BundleFixError: The artifact or the target cannot be read.

    """
    start = time.monotonic()
    with open_on_target(path, target, progress) as subject:
        host = subject.host
        if host_like_this and isinstance(host, AdversarialHost):
            from bundle_fix.loader.hosts.real_host import find_names_on_this_machine

            host = replace(
                host, provides=(*host.provides, *find_names_on_this_machine(subject.bundle))
            )
        verdict = check_bundle(
            subject.bundle, policy, host, subject.environment, subject.entry, progress
        )
    return make_check_report(str(path), verdict, time.monotonic() - start)


def _load_baseline_filter(
    path: Path | None, fail_on: Severity
) -> Callable[[CheckReport], CheckReport]:
    """Return a function that removes the findings of the baseline at ``path`` from a report.

    Raises:
        BundleFixError: The baseline cannot be read.
    """
    if path is None:
        return lambda report: report
    from bundle_fix.report.baseline import drop_known_findings, read_baseline

    baseline = read_baseline(path)
    return lambda report: drop_known_findings(
        report, baseline.find_known_findings(report.artifact), fail_on
    )


def _list_artifacts(artifacts: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the artifacts; ``-`` stands for those on stdin, one per line or NUL-terminated."""
    for artifact in artifacts:
        if artifact == STDIN:
            data = sys.stdin.buffer.read()
            names = data.split(b"\0") if b"\0" in data else data.splitlines()
            yield from (Path(os.fsdecode(name)) for name in names if name.strip())
        else:
            yield artifact


def report_errors(path: Path, check: Callable[[], CheckReport]) -> CheckReport:
    """Return the report of ``check``, or an error report if it raises."""
    try:
        return check()
    except BundleFixError as error:
        return make_error_report(str(path), str(error))
    except MemoryError:
        return make_error_report(str(path), f"{path}: not enough memory")
    except OSError as error:
        return make_error_report(str(path), f"{path}: {error.strerror or error}")


def _may_be_on_a_terminal(stream: IO[str]) -> bool:
    """Return whether ``stream`` is a terminal, or a pipe that may end at one, such as `less`."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except OSError:
        return True
    return stream.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _check_in_parallel(
    paths: list[Path],
    check_one: Callable[[Path], CheckReport],
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
    return check_many(paths, check_one, jobs, timeout, report_progress)


def _record_reports(
    reports: Iterable[CheckReport],
    clear_line: Callable[[], None],
    found: list[CheckReport],
    *,
    whole: bool,
) -> Iterator[CheckReport]:
    """Yield each report as it arrives, after a call of ``clear_line``, and append it to ``found``.

    Unless ``whole`` is set, ``found`` gets the reports without findings, to save memory.
    """
    for report in reports:
        found.append(report if whole else strip_findings(report))
        clear_line()
        yield report
