"""``bundle-fix why``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.options import ArtifactPath, host_option, limit_options, painter, talk_options
from bundle_fix.cli.progress import progress_shown
from bundle_fix.cli.target import Subject, open_subject, read_target, target_options
from bundle_fix.loader.entries import find_object, plugins, programs
from bundle_fix.loader.explain import explain
from bundle_fix.loader.process import World
from bundle_fix.loader.scope import providers
from bundle_fix.report.render.json import to_json
from bundle_fix.report.render.text import Paint
from bundle_fix.report.render.why import (
    explanation_records,
    provider_records,
    render_explanations,
    render_providers,
)


@click.command(short_help="show each step of the search for a library")
@click.argument("artifact", type=ArtifactPath)
@click.argument("name", required=False)
@click.option(
    "--from", "requester", metavar="OBJECT",
    help="Show only the search for OBJECT; with --symbol, only its process.",
)  # fmt: skip
@click.option(
    "--symbol", metavar="SYMBOL",
    help="Show the objects that define SYMBOL, such as malloc, in load order.",
)  # fmt: skip
@click.option("--format", "kind", type=click.Choice(["text", "json"]), default="text")
@host_option
@target_options
@limit_options
@talk_options
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
    paint = painter(color, is_terminal=sys.stdout.isatty())
    with (
        progress_shown(quiet=quiet, color=color) as display,
        open_subject(artifact, target, display) as subject,
    ):
        display.hide()
        start = find_object(subject.bundle, requester, str(artifact)) if requester else None
        if symbol is not None:
            return _symbol(subject, symbol, start, kind, paint)
        world = World(subject.bundle, subject.host, subject.environment)
        found = explain(world, name or "", start, subject.entry)
    if kind == "json":
        sys.stdout.write(to_json(explanation_records(found)))
    else:
        sys.stdout.write(render_explanations(found, paint))
    return int(not all(explanation.good for explanation in found))


def _symbol(subject: Subject, symbol: str, start: str | None, kind: str, paint: Paint) -> int:
    world = World(subject.bundle, subject.host, subject.environment)
    only = start or subject.entry
    started = {only: world.process(only)} if only else programs(world)
    processes = started or plugins(world, started)
    found = [(process, providers(world, process, symbol)) for process in processes.values()]
    if kind == "json":
        sys.stdout.write(to_json(provider_records(symbol, found)))
    else:
        sys.stdout.write(render_providers(symbol, found, paint))
    return int(not all(objects for _, objects in found))
