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
from bundle_fix.cli.check_options import add_gate_options, make_gate_policy
from bundle_fix.cli.options import (
    ArtifactPath,
    define_option,
    here_option,
    host_option,
    add_limit_options,
    choose_painter,
    spec_option,
    add_message_options,
)
from bundle_fix.cli.progress import progress_shown
from bundle_fix.cli.renderers import Style, in_file, render, summary_of
from bundle_fix.cli.report_file import append_summary, write_report
from bundle_fix.cli.status import exit_status
from bundle_fix.cli.target import Target, open_subject, read_target, target_options
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
@target_options
@add_limit_options
@here_option
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
    policy = make_gate_policy(spec, host_provides, fail_on, glibc, ignores, defines)
    target = read_target(host_root, variables, level, policy.host, limits)
    settled = _load_baseline_filter(baseline, policy.fail_on)
    paint = choose_painter(color, is_terminal=output is None and sys.stdout.isatty())
    style = Style(
        "check", kind, describe_rules(CHECK_RULES), policy.fail_on, paint, verbose, quiet, exit_zero
    )

    def report(path: Path, progress: Progress = no_progress) -> CheckReport:
        made = partial(check_artifact, path, policy, target, progress)
        return report_errors(path, lambda: settled(made(host_like_this=host_like_this)))

    paths = list(_list_artifacts(artifacts))
    if not paths:
        raise BundleFixError(
            "the list of artifacts is empty", where="stdin", hint="give at least one path"
        )
    found: list[CheckReport] = []
    whole = bool(also) or kind == "github"
    with progress_shown(quiet=quiet, color=color) as display:
        reports: Iterator[CheckReport]
        if len(paths) == 1 and timeout is None:
            reports = (report(path, display) for path in paths)
        else:
            reports = _check_in_parallel(paths, report, jobs or count_cores(), timeout, display)
        on_terminal = output is None and _may_be_on_a_terminal(sys.stdout)
        make_way = display.hide if on_terminal else lambda: None
        shown = _record_reports(reports, make_way, found, whole=whole)
        # On a terminal the line on stderr says it all where there is but one artifact.
        errors = output is not None or len(paths) > 1
        write_report(render(shown, style, errors=errors), output, kind)
    for other, file in also:
        write_report(render(found, in_file(style, other), errors=True), file, other)
    if kind == "github":
        append_summary(lambda: summary_of(found, style))
    for broken in found:
        if broken.error:
            sys.stderr.write(f"bundle-fix: error: {escape_unprintable(broken.error)}\n")
    return exit_status(found, exit_zero=exit_zero)


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
        path: where it is.
        policy: what the user says of it.
        target: where it is to run.
        progress: is told how far the check is.
        host_like_this: whether the target has what this machine has in its default directories.

    Raises:
        BundleFixError: it or its target cannot be read.
    """
    start = time.monotonic()
    with open_subject(path, target, progress) as subject:
        host = subject.host
        if host_like_this and isinstance(host, AdversarialHost):
            from bundle_fix.loader.hosts.this_machine import find_names_on_this_machine

            host = replace(host, provides=(*host.provides, *find_names_on_this_machine(subject.bundle)))
        verdict = check_bundle(
            subject.bundle, policy, host, subject.environment, subject.entry, progress
        )
    return make_check_report(str(path), verdict, time.monotonic() - start)


def _load_baseline_filter(path: Path | None, fail_on: Severity) -> Callable[[CheckReport], CheckReport]:
    """What takes out of a report the findings that the baseline at ``path`` has.

    Raises:
        BundleFixError: it cannot be read.
    """
    if path is None:
        return lambda report: report
    from bundle_fix.report.baseline import drop_known_findings, read_baseline

    baseline = read_baseline(path)
    return lambda report: drop_known_findings(
        report, baseline.find_known_findings(report.artifact), fail_on
    )


def _list_artifacts(artifacts: tuple[Path, ...]) -> Iterator[Path]:
    """The artifacts, those that stdin lists in the place of ``-``: one a line, or ended by NULs."""
    for artifact in artifacts:
        if artifact == STDIN:
            data = sys.stdin.buffer.read()
            names = data.split(b"\0") if b"\0" in data else data.splitlines()
            yield from (Path(os.fsdecode(name)) for name in names if name.strip())
        else:
            yield artifact


def report_errors(path: Path, check: Callable[[], CheckReport]) -> CheckReport:
    """The report on one artifact, in this process; what ``check`` raises becomes the report."""
    try:
        return check()
    except BundleFixError as error:
        return make_error_report(str(path), str(error))
    except MemoryError:
        return make_error_report(str(path), f"{path}: not enough memory")
    except OSError as error:
        return make_error_report(str(path), f"{path}: {error.strerror or error}")


def _may_be_on_a_terminal(stream: IO[str]) -> bool:
    """Whether what is printed may come out on a terminal: at once, or by way of a pipe."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except OSError:
        return True
    return stream.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _check_in_parallel(
    paths: list[Path],
    report: Callable[[Path], CheckReport],
    jobs: int,
    timeout: float | None,
    progress: Progress,
) -> Iterator[CheckReport]:
    # What reads the most common tarballs is imported once, not in every worker.
    import isal.igzip_threaded  # noqa: F401

    from bundle_fix.cli.parallel import check_many

    size = 0
    for path in paths:
        with suppress(OSError, ValueError):
            size += path.stat().st_size
    step = ProgressStep("checking", size, format_count(len(paths), "artifact"), len(paths))
    tell = partial(progress, step)
    tell(0)
    return check_many(paths, report, jobs, timeout, tell)


def _record_reports(
    reports: Iterable[CheckReport],
    make_way: Callable[[], None],
    found: list[CheckReport],
    *,
    whole: bool,
) -> Iterator[CheckReport]:
    """The reports as they come, each when ``make_way`` has had nothing be in its way.

    Each is kept in ``found`` as well: as it is where ``whole`` says so, else its outline.
    """
    for report in reports:
        found.append(report if whole else strip_findings(report))
        make_way()
        yield report
