"""Run a program on its host, record what it loads, and report it as findings."""

from __future__ import annotations

import posixpath
from pathlib import Path

from msgspec import Struct

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.observed import NOTHING_OBSERVED
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.run.prepare import PreparedHost, prepare_host
from bundle_fix.pipelines.run.request import RunOptions, build_environment, find_program
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.run.findings import check_outcome, find_problems
from bundle_fix.run.observation import Load, observe_loads
from bundle_fix.run.record.loader_record import RECORD_DIRECTORY, read_loader_record
from bundle_fix.run.record.watch import Watch, watch_directories
from bundle_fix.run.sandbox.command import Command, Isolation, ProgramEnd, Sandbox
from bundle_fix.run.sandbox.program import start_program

POLL = 0.1
"""Seconds between two looks at the kernel's record, whose queue is short."""


class RunResult(Struct, frozen=True):
    """What a run showed.

    Attributes:
        program: the path of the program on the host.
        outcome: how it ended.
        findings: all findings.
        loads: the objects that were loaded, and names that were not found.
        opened_files: the files of the pack that were opened, relative to it.
        isolation: how the program was separated from this machine.
        decoys: number of decoys.
        is_complete: whether the records are complete.
    """

    program: str
    outcome: ProgramEnd
    findings: tuple[Finding, ...]
    loads: tuple[Load, ...]
    opened_files: tuple[str, ...]
    isolation: Isolation
    decoys: int
    is_complete: bool


def run_program(
    path: Path, options: RunOptions, policy: CheckPolicy, output: int,
    progress: Progress = no_progress,
) -> RunResult:  # fmt: skip
    """Run a program of the pack at ``path`` and observe what it loads.

    Args:
        path: the pack.
        options: the request.
        policy: ``host`` and ``dlopen`` are used.
        output: the descriptor for the program's output.
        progress: receives the number of unpacked bytes.

    Raises:
        BundleFixError: The pack cannot be read, or the program cannot be started here.
    """
    with prepare_host(path, options, policy, progress) as host:
        program = find_program(host.observer.deployment.view, options, str(path))
        command = Command(
            (program, *options.arguments), build_environment(options),
            posixpath.join(options.at, options.directory), options.seconds, output,
        )  # fmt: skip
        return _observe_run(host, command, options, str(path))


def _observe_run(
    host: PreparedHost, command: Command, options: RunOptions, where: str
) -> RunResult:
    directories = [host.pack / path for path in sorted(host.bundle.tree.directories)]
    directories += [host.sandbox.root / path.lstrip("/") for path in host.decoys.directories]
    with watch_directories(directories) as watch:
        outcome = execute_program(host.sandbox, command, watch)
    if outcome.error:
        raise BundleFixError(f"cannot run {command.arguments[0]}: {outcome.error}", where=where)
    requests, is_cut = read_loader_record(host.sandbox.root / RECORD_DIRECTORY.strip("/"))
    loads = tuple(observe_loads(host.observer, requests))
    opened_decoys, opened_files = _sort_opened_files(host, watch)
    program = host.observer.label_path(command.arguments[0])[0]
    findings = [
        *check_outcome(program, outcome, options.seconds, is_stop=options.is_stop),
        *find_problems(host.observer, loads, opened_decoys),
    ]
    if not requests:
        findings.append(NOTHING_OBSERVED.make_finding(program, "loaded no library on record"))
    return RunResult(
        command.arguments[0], outcome, tuple(findings), loads, opened_files,
        host.sandbox.isolation, len(host.observer.decoys), watch.is_complete and not is_cut,
    )  # fmt: skip


def execute_program(sandbox: Sandbox, command: Command, watch: Watch) -> ProgramEnd:
    """Run a command to its end; the watch collects its events meanwhile."""
    with start_program(sandbox, command) as running:
        while (outcome := running.wait(POLL)) is None:
            watch.collect_events()
    watch.collect_events()
    return outcome


def _sort_opened_files(host: PreparedHost, watch: Watch) -> tuple[list[str], tuple[str, ...]]:
    """Return the decoys and the files of the pack that the kernel saw opened."""
    decoys, files = [], []
    for path in watch.opened:
        if path.is_relative_to(host.pack):
            files.append(str(path.relative_to(host.pack)))
        else:
            inside = f"/{path.relative_to(host.sandbox.root)}"
            decoys += [inside] if inside in host.observer.decoys else []
    return decoys, tuple(sorted(files))
