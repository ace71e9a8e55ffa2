"""``bundle-fix check``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from bundle_fix.artifacts.limits import Limits
from bundle_fix.artifacts.output import pending_file
from bundle_fix.check.context import Expectations
from bundle_fix.check.findings import SEVERITIES
from bundle_fix.check.run import RULES, check_bundle
from bundle_fix.cli.expectations import glibc_baseline, parse_ignore, read_expectations
from bundle_fix.cli.many import Check, check_many, report_on
from bundle_fix.cli.options import (
    ArtifactPath,
    here_option,
    host_option,
    limit_options,
    painter,
    spec_option,
    talk_options,
)
from bundle_fix.cli.renderers import FORMATS, Style, render
from bundle_fix.cli.subject import Target, open_subject, read_target, target_options
from bundle_fix.loader.host import AdversarialHost
from bundle_fix.processors import cores
from bundle_fix.report.model import CheckReport, check_report, rule_texts
from bundle_fix.this_machine import on_this_machine

STDIN = Path("-")
UNCHECKED = 2
"""The exit status where an artifact could not be checked."""


@click.command(short_help="prove which file every library comes from")
@click.argument("artifacts", nargs=-1, required=True, type=ArtifactPath, metavar="ARTIFACT...")
@spec_option
@host_option
@target_options
@limit_options
@here_option
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default=None,
    help="The mildest severity that fails the check (default: error).",
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found.")
@click.option(
    "--ignore",
    "ignores",
    multiple=True,
    metavar="RULE[:PATH]=REASON",
    help="Accept findings of RULE at paths like PATH, and say why; repeatable.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Accept what this earlier report (json, jsonl) has: only new findings count.",
)
@click.option("--glibc", metavar="VERSION", help="The oldest glibc of the targets, such as 2.17.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="text")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report to FILE.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    help="Artifacts to check at once (default: the number of cores).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="SECONDS",
    help="Give an artifact up after this time.",
)
@talk_options
def check(
    artifacts: tuple[Path, ...],
    spec: Path | None,
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
    jobs: int | None,
    timeout: float | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Check packs with the loader's eyes, against a host that has an older copy of everything.

    An ARTIFACT is a tarball, a folder or an ELF file, which is looked at with what its search paths
    lead to; '-' reads a list of them, one a line, from stdin. Exit status: 0 all well, 1 findings,
    2 an artifact or a spec cannot be read.
    """  # fmt: skip
    expectations, _ = read_expectations(spec, host_provides)
    expectations = replace(
        expectations,
        fail_on=fail_on or expectations.fail_on,
        glibc=glibc_baseline(glibc) or expectations.glibc,
        ignore=(*expectations.ignore, *map(parse_ignore, ignores)),
    )
    target = read_target(host_root, variables, level, expectations.host, limits)
    known = _baseline(baseline)
    paint = painter(color, is_terminal=output is None and sys.stdout.isatty())
    style = Style(kind, rule_texts(RULES), expectations.fail_on, paint, verbose, quiet)

    def report(path: Path) -> CheckReport:
        found = check_artifact(path, expectations, target, host_like_this=host_like_this)
        return _settled(found, known, expectations.fail_on)

    paths = list(_listed(artifacts))
    found: list[CheckReport] = []
    pieces = render(_checked(paths, report, jobs, timeout, found), style, len(paths))
    _write(pieces, output)
    _summarise(found, style)
    for broken in found:
        if broken.error:
            sys.stderr.write(f"bundle-fix: error: {broken.error}\n")
    if any(one.error for one in found):
        return UNCHECKED
    return int(any(one.failed for one in found) and not exit_zero)


def check_artifact(
    path: Path, expectations: Expectations, target: Target, *, host_like_this: bool = False
) -> CheckReport:
    """Check one artifact.

    Args:
        path: where it is.
        expectations: what the user says of it.
        target: where it is to run.
        host_like_this: whether the target has what this machine has in its default directories.

    Raises:
        BundleFixError: it or its target cannot be read.
    """
    with open_subject(path, target) as subject:
        host = subject.host
        if host_like_this and isinstance(host, AdversarialHost):
            host = replace(host, provides=(*host.provides, *on_this_machine(subject.bundle)))
        verdict = check_bundle(
            subject.bundle, expectations, host, subject.environment, subject.entry
        )
    return check_report(str(path), verdict)


def _baseline(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    from bundle_fix.report.baseline import read_baseline

    return read_baseline(path)


def _settled(report: CheckReport, known: frozenset[str], fail_on: str) -> CheckReport:
    if not known:
        return report
    from bundle_fix.report.baseline import without_known

    return without_known(report, known, fail_on)


def _listed(artifacts: tuple[Path, ...]) -> Iterator[Path]:
    """The artifacts, those that stdin lists in the place of ``-``."""
    for artifact in artifacts:
        if artifact == STDIN:
            lines = sys.stdin.buffer.read().splitlines()
            yield from (Path(os.fsdecode(line)) for line in lines if line.strip())
        else:
            yield artifact


def _checked(
    paths: list[Path],
    report: Check,
    jobs: int | None,
    timeout: float | None,
    found: list[CheckReport],
) -> Iterator[CheckReport]:
    """The reports in order; each is kept in ``found`` as well."""
    alone = len(paths) == 1 and timeout is None
    reports = (
        (report_on(path, report) for path in paths)
        if alone
        else check_many(paths, report, jobs or cores(), timeout)
    )
    for one in reports:
        found.append(one)
        yield one


def _write(pieces: Iterator[str], output: Path | None) -> None:
    """Write the report to stdout as it comes, or to a file whole."""
    if output is None:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    elif output.exists() and not output.is_file():
        with output.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(pieces)
    else:
        with pending_file(output) as pending:
            for piece in pieces:
                pending.file.write(piece.encode("utf-8", "backslashreplace"))
            pending.commit()


def _summarise(found: list[CheckReport], style: Style) -> None:
    """Append to the summary of a step of GitHub Actions, where this is one."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if style.kind == "github" and place:
        from bundle_fix.report.github import render_summary

        with Path(place).open("a", encoding="utf-8") as summary:
            summary.write(render_summary(found, style.rules))
