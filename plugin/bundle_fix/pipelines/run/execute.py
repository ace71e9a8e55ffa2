"""Run a program on its host, record what it loads, and report it as findings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.observed import NOTHING_OBSERVED
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.pipelines.run.open_all import open_libraries
from bundle_fix.pipelines.run.prepare import PreparedHost, prepare_host
from bundle_fix.pipelines.run.request import RunOptions, build_environment, find_program
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.run.findings import check_end, find_problems
from bundle_fix.run.host.machine_files import copy_strace
from bundle_fix.run.observation import Load, LoadOrigin, observe_loads
from bundle_fix.run.record.loader_record import RECORD_DIRECTORY, read_loader_record
from bundle_fix.run.record.strace import (
    STRACE_DIRECTORY,
    build_strace_command,
    read_strace_record,
)
from bundle_fix.run.record.watch import Watch, watch_directories
from bundle_fix.run.sandbox.command import Command, Isolation, ProgramEnd, Sandbox
from bundle_fix.run.sandbox.program import start_program

POLL = 0.1
"""Seconds between two looks at the kernel's record, whose queue is short."""


class RunResult(Struct, frozen=True):
    """What a run showed.

    Attributes:
        program: the path of the program on the host.
        end: how it ended.
        findings: all findings.
        loads: the objects that were loaded, and names that were not found.
        opened_files: the files of the pack that were opened, relative to it.
        host_files: the other files that strace saw opened.
        isolation: how the program was separated from this machine.
        decoys: number of decoys.
        is_complete: whether the records are complete.
    """

    program: str
    end: ProgramEnd
    findings: tuple[Finding, ...]
    loads: tuple[Load, ...]
    opened_files: tuple[str, ...]
    host_files: tuple[str, ...]
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
        with watch_directories(_list_watched_directories(host)) as watch:
            findings = list(open_libraries(host, options)) if options.open_all else []
            end = ProgramEnd()
            if program:
                command = _build_command(host, program, options, output)
                end = _execute_program(host.sandbox, command, watch)
            watch.collect_events()
        if end.error:
            raise BundleFixError(f"cannot run {program}: {end.error}", where=str(path))
        label = host.observer.label_path(program)[0] if program else ""
        findings += check_end(label, end, options.seconds, is_stop=options.is_stop)
        return _build_run_result(host, program, end, findings, watch)


def _list_watched_directories(host: PreparedHost) -> Iterator[Path]:
    yield from (host.pack / path for path in sorted(host.bundle.tree.directories))
    yield from (host.sandbox.root / path.lstrip("/") for path in host.decoys.directories)


def _build_command(host: PreparedHost, program: str, options: RunOptions, output: int) -> Command:
    directory = posixpath.join(options.at, options.directory)
    environment = build_environment(options)
    arguments = (program, *options.arguments)
    if options.strace:
        if host.sandbox.isolation is Isolation.CHROOT:
            raise BundleFixError("--strace requires namespaces, which this machine forbids")
        loader = copy_strace(host.sandbox.root / STRACE_DIRECTORY.strip("/"))
        variables = [f"{name}={value}" for name, value in environment.items()]
        # Only the program has the variables of the loader, not strace.
        arguments = (*build_strace_command(loader, variables), *arguments)
        environment = {}
    return Command(arguments, environment, directory, options.seconds, output)


def _execute_program(sandbox: Sandbox, command: Command, watch: Watch) -> ProgramEnd:
    """Run a command to its end; the watch collects its events meanwhile."""
    with start_program(sandbox, command) as running:
        while running.is_running(POLL):
            watch.collect_events()
        return running.wait_for_end()


def _build_run_result(
    host: PreparedHost, program: str, end: ProgramEnd, findings: list[Finding], watch: Watch
) -> RunResult:
    record = host.sandbox.root / RECORD_DIRECTORY.strip("/")
    requests, is_cut = read_loader_record(record)
    loads = tuple(observe_loads(host.observer, requests))
    opened_decoys, opened_files = _sort_opened_files(host, watch)
    findings += find_problems(host.observer, loads, opened_decoys)
    if not requests:
        label = host.observer.label_path(program)[0]
        findings.append(NOTHING_OBSERVED.make_finding(label, "loaded no library on record"))
    labels = map(host.observer.label_path, read_strace_record(record))
    return RunResult(
        program, end, tuple(findings), loads, opened_files,
        tuple(path for path, origin in labels if origin is not LoadOrigin.PACK),
        host.sandbox.isolation, len(host.observer.decoys), watch.is_complete and not is_cut,
    )  # fmt: skip


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
