"""``bundle-fix check``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from bundle_fix.check.context import Expectations
from bundle_fix.check.findings import SEVERITIES
from bundle_fix.check.run import Verdict, check_bundle
from bundle_fix.cli.expectations import read_expectations
from bundle_fix.cli.options import ArtifactPath, host_option, painter, spec_option, talk_options
from bundle_fix.cli.subject import Target, open_subject, read_target, target_options
from bundle_fix.report.text import render_text


@click.command(short_help="prove which file every library comes from")
@click.argument("artifacts", nargs=-1, required=True, type=ArtifactPath, metavar="ARTIFACT...")
@spec_option
@host_option
@target_options
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    default=None,
    help="The mildest severity that fails the check (default: error).",
)
@click.option("--format", "kind", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report to FILE.",
)
@talk_options
def check(
    artifacts: tuple[Path, ...],
    spec: Path | None,
    host_provides: tuple[str, ...],
    host_root: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    fail_on: str | None,
    kind: str,
    output: Path | None,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Check packs with the loader's eyes, against a host that has an older copy of everything.

    An ARTIFACT is a tarball, a folder or an ELF file, which is looked at with what its search paths
    lead to. Exit status: 0 all well, 1 findings, 2 an
    artifact or a spec cannot be read.
    """
    expectations, _ = read_expectations(spec, host_provides)
    if fail_on is not None:
        expectations = replace(expectations, fail_on=fail_on)
    target = read_target(host_root, variables, level, expectations.host)
    verdicts = [(str(path), check_artifact(path, expectations, target)) for path in artifacts]
    failed = any(verdict.failed for _, verdict in verdicts)
    if quiet and kind == "text" and output is None:
        verdicts = [(name, verdict) for name, verdict in verdicts if verdict.failed]
    paint = painter(color, is_terminal=output is None and sys.stdout.isatty())
    if kind == "json":
        from bundle_fix.report.json import render_json
        from bundle_fix.report.model import check_report

        text = render_json([check_report(name, verdict) for name, verdict in verdicts])
    else:
        text = "\n".join(render_text(n, v, paint, verbose=verbose) for n, v in verdicts)
    if output is not None:
        output.write_text(text, encoding="utf-8", errors="backslashreplace")
    else:
        sys.stdout.write(text)
    return 1 if failed else 0


def check_artifact(path: Path, expectations: Expectations, target: Target) -> Verdict:
    """Check one artifact.

    Raises:
        BundleFixError: it or its target cannot be read.
    """
    with open_subject(path, target) as subject:
        return check_bundle(
            subject.bundle, expectations, subject.host, subject.environment, subject.entry
        )
