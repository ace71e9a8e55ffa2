"""``bundle-fix tree``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import Limits
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.cli.limit_options import add_limit_options
from bundle_fix.cli.options import (
    PATH,
    add_message_options,
    choose_painter,
    host_option,
    parse_report_path,
    parse_text,
    print_message,
)
from bundle_fix.cli.progress import show_progress
from bundle_fix.cli.report_file import write_report
from bundle_fix.cli.target_options import add_target_options, read_target
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.entry_points import (
    find_elf_file,
    map_plugin_in_programs,
    map_plugins,
    map_programs,
)
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.target import ArtifactOnTarget, open_on_target
from bundle_fix.report.render.json import format_json
from bundle_fix.report.render.process import (
    describe_lack_of_processes,
    make_process_records,
    render_dot,
    render_mermaid,
    render_tree,
)


@click.command(cls=CommandWithExamples)
@click.argument("artifact", type=PATH)
@click.argument("entries", nargs=-1, type=parse_text, metavar="[ENTRY...]")
@click.option(
    "--in", "program", type=parse_text, metavar="PROGRAM",
    help="Show the objects that dlopen() of ENTRY adds to PROGRAM.",
)  # fmt: skip
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "dot", "mermaid", "html"]),
    default="text",
    help="Set the format of the output (default: text).",
)
@click.option(
    "-o", "--output", type=parse_report_path, metavar="FILE", help="Write the output to FILE."
)
@host_option
@add_target_options
@add_limit_options
@add_message_options
def tree(
    artifact: Path,
    entries: tuple[str, ...],
    program: str | None,
    kind: str,
    output: Path | None,
    host_provides: tuple[str, ...],
    host_root: Path | None,
    variables: tuple[str, ...],
    level: str | None,
    limits: Limits,
    quiet: bool,
    verbose: bool,
    color: str,
) -> int:
    """Show the objects that the loader maps for each ENTRY, and the search rule of each.

    The default is each program, and each library that only dlopen() loads.

    Exit code: 0 success, 1 a needed library is missing, 2 invalid request.
    """
    target = read_target(host_root, variables, level, host_provides, limits)
    with (
        show_progress(quiet=quiet, color=color) as display,
        open_on_target(artifact, target, display) as subject,
    ):
        processes = list(_simulate_processes(subject, entries, program, str(artifact)))
        page = _render_page(artifact, subject, processes) if kind == "html" else ""
    if not processes:
        print_message(f"{artifact}: {describe_lack_of_processes(subject.bundle)}", quiet=quiet)
    if kind == "json":
        page = format_json(make_process_records(processes))
    elif kind == "text":
        is_terminal = output is None and sys.stdout.isatty()
        paint = choose_painter(color, is_terminal=is_terminal)
        width = shutil.get_terminal_size().columns if is_terminal and not verbose else None
        page = render_tree(processes, paint, fold=not verbose, width=width)
    elif kind != "html":
        page = {"dot": render_dot, "mermaid": render_mermaid}[kind](processes)
    write_report([page], output, kind)
    return int(bool(_list_missing_names(processes)))


def _render_page(artifact: Path, subject: ArtifactOnTarget, processes: Sequence[Process]) -> str:
    """Return the HTML document; the files of the host must be open."""
    from bundle_fix.report.graphs.choice import MAX_EDGES
    from bundle_fix.report.graphs.process_graphs import make_process_graphs
    from bundle_fix.report.html.pages.tree_page import render_tree_page

    deployment = Deployment(subject.bundle, subject.host, subject.environment)
    # The report of check points here for a graph above its limit.
    largest = max((len(process.resolutions) for process in processes), default=0)
    graphs = make_process_graphs(processes, deployment, max(MAX_EDGES, largest), {})
    missing = _list_missing_names(processes)
    return render_tree_page(str(artifact), graphs, len(processes) - len(graphs), len(missing))


def _list_missing_names(processes: Sequence[Process]) -> set[str]:
    return {o.label for p in processes for o in p.objects if o.origin is ObjectOrigin.MISSING}


def _simulate_processes(
    subject: ArtifactOnTarget, entries: tuple[str, ...], program: str | None, where: str
) -> list[Process]:
    """Return the process of each entry; the default is all programs and plugins."""
    deployment = Deployment(subject.bundle, subject.host, subject.environment)
    paths = [find_elf_file(subject.bundle, entry, where) for entry in entries]
    if subject.entry is not None and not paths and program is None:
        paths = [find_elf_file(subject.bundle, subject.entry, where)]
    for path in paths:
        _ensure_dynamic(deployment, path, where)
    if program is not None:
        if not paths:
            raise click.UsageError("--in PROGRAM requires an ENTRY, the library that it opens")
        program_path = find_elf_file(subject.bundle, program, where)
        _ensure_dynamic(deployment, program_path, where)
        process = deployment.map_process(program_path)
        return [deployment.dlopen_process(process, path) for path in paths]
    if paths:
        return [deployment.map_process(path) for path in paths]
    programs = map_programs(deployment)
    plugins = map_plugins(deployment, programs).values()
    return [*programs.values(), *(_add_dlopen_remarks(deployment, programs, p) for p in plugins)]


def _add_dlopen_remarks(
    deployment: Deployment, programs: Mapping[str, Process], plugin: Process
) -> Process:
    """Add a remark for each name that resolves to another bundled library in a program.

    A library that a program has already loaded under its soname satisfies a plugin's need, and the
    RPATH of the program is searched too (glibc's _dl_map_object).
    """
    by_itself = {(r.requester.label, r.name): r.result.path for r in plugin.resolutions}
    remarks = dict.fromkeys(plugin.remarks)
    for program, process in map_plugin_in_programs(deployment, programs, plugin):
        for resolution in process.resolutions:
            name, result = resolution.name, resolution.result
            path = by_itself.get((resolution.requester.label, name))
            if result.origin is ObjectOrigin.BUNDLE and result.path != path:
                remarks[f"opened by {program.entry}: {name} => {result.path}"] = None
    return replace(plugin, remarks=tuple(remarks))


def _ensure_dynamic(deployment: Deployment, path: str, where: str) -> None:
    """Raise BundleFixError if the file is a static program or an object file."""
    if not deployment.bundle.images[path].is_dynamic:
        raise BundleFixError(
            "missing dynamic section: the loader maps no libraries for this file",
            where=where if len(deployment.bundle.images) == 1 else f"{where}: {path}",
            hint="static programs and object files need no libraries",
        )
