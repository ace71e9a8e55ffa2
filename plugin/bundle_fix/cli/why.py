"""``bundle-fix why``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    PATH,
    add_message_options,
    choose_painter,
    host_option,
    parse_text,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.target_options import add_target_options, read_target
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import find_elf_file, map_plugins, map_programs
from bundle_fix.loader.explain import explain_name
from bundle_fix.loader.scope import find_symbol_providers
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.target import ArtifactOnTarget, open_on_target
from bundle_fix.report.render.causes_text import Paint
from bundle_fix.report.render.json import format_json
from bundle_fix.report.render.process import describe_lack_of_processes
from bundle_fix.report.render.why import (
    make_explanation_records,
    make_provider_records,
    render_explanations,
    render_providers,
)


@click.command(cls=CommandWithExamples)
@click.argument("artifact", type=PATH)
@click.argument("name", required=False, type=parse_text)
@click.option(
    "--from", "requester", type=parse_text, metavar="OBJECT",
    help="Show only the search for OBJECT; with --symbol, only its process.",
)  # fmt: skip
@click.option(
    "--symbol", metavar="SYMBOL",
    help="Show the objects that define SYMBOL, such as malloc, in load order.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["text", "json"]), default="text",
    help="Set the format of the output (default: text).",
)  # fmt: skip
@host_option
@add_target_options
@add_limit_options
@add_message_options
def why(
    artifact: Path,
    name: str | None,
    requester: str | None,
    symbol: str | None,
    kind: str,
    host_provides: tuple[str, ...],
    host_root: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    limits: Limits,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Show each directory that the loader tries for NAME, and the result.

    Exit code: 0 success, 1 NAME is unresolved or resolves to the host's copy of a bundled library,
    2 invalid request.
    """
    if (name is None) == (symbol is None):
        raise click.UsageError("missing NAME or --symbol SYMBOL (exactly one)")
    target = read_target(host_root, variables, level, host_provides, limits)
    paint = choose_painter(color, is_terminal=sys.stdout.isatty())
    with (
        show_progress(quiet=quiet, color=color) as display,
        open_on_target(artifact, target, display) as subject,
    ):
        display.hide()
        bundle = subject.bundle
        start = find_elf_file(bundle, requester, str(artifact)) if requester else None
        if subject.entry is not None:
            find_elf_file(bundle, subject.entry, str(artifact))
        if not (bundle.list_programs() or bundle.list_libraries()):
            raise BundleFixError(describe_lack_of_processes(bundle), where=str(artifact))
        if symbol is not None:
            return _print_providers(subject, symbol, start, kind, paint)
        deployment = Deployment(bundle, subject.host, subject.environment)
        found = explain_name(deployment, name or "", start, subject.entry)
    if kind == "json":
        sys.stdout.write(format_json(make_explanation_records(found)))
    else:
        sys.stdout.write(render_explanations(found, paint, verbose=verbose))
    return int(not all(explanation.conclusion.is_intended for explanation in found))


def _print_providers(
    subject: ArtifactOnTarget, symbol: str, start: str | None, kind: str, paint: Paint
) -> int:
    """Print the objects that define ``symbol`` and return the exit code."""
    deployment = Deployment(subject.bundle, subject.host, subject.environment)
    entry = start or subject.entry
    programs = {entry: deployment.map_process(entry)} if entry else map_programs(deployment)
    # A pack of libraries has no programs.
    processes = programs or map_plugins(deployment, programs)
    found = [
        (process, find_symbol_providers(deployment, process, symbol))
        for process in processes.values()
    ]

    if kind == "json":
        sys.stdout.write(format_json(make_provider_records(symbol, found)))
    else:
        sys.stdout.write(render_providers(symbol, found, paint))
    return int(not all(objects for _, objects in found))
