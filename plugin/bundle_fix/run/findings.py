"""Findings about a run."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.check.rules import observed as rules
from bundle_fix.model.library_names import matches_any
from bundle_fix.policy.severity import Severity
from bundle_fix.run.observation import Load, LoadOrigin, Observer, Prediction
from bundle_fix.run.record.loader_record import LoadCall
from bundle_fix.run.sandbox.command import ProgramEnd
from bundle_fix.subprocesses.signal_names import get_signal_name

BY_PATH = "No change is needed: the library is opened by its path in the pack."
CALL_TEXTS = {LoadCall.NEEDED: "needs", LoadCall.DLOPEN: "opens"}


def find_problems(
    observer: Observer, loads: Sequence[Load], opened_decoys: Iterable[str]
) -> Iterator[Finding]:
    """Yield the findings about what was loaded.

    Args:
        observer: the sides of the run.
        loads: the loads that the loader recorded.
        opened_decoys: the paths of the decoys that the kernel saw opened.
    """
    found = {_get_search(load): n for n, load in enumerate(loads) if load.path}
    for number, load in enumerate(loads):
        # A program may try several paths for one file; a path before the right one does not matter.
        if load.path or load.call is LoadCall.NEEDED or found.get(_get_search(load), -1) < number:
            yield from _check_load(observer, load)
    recorded = {load.path for load in loads} | {t for load in loads for t in load.tried}
    names = {observer.decoys[path] for path in recorded if path in observer.decoys}
    for path in opened_decoys:
        name = observer.decoys[path]
        if name not in names:
            names.add(name)
            rule = rules.HOST_COPY if _list_providers(observer, name) else rules.UNDECLARED
            yield rule.make_finding(
                "",
                f"{path} was opened by a process whose loader wrote no record",
                root=Root(RootKind.HOST_COPY, name),
                needed=name,
                loaded=path,
                provided=_list_providers(observer, name),
            )


def _get_search(load: Load) -> tuple[str, str, str]:
    """Return who looked for which file name, in whatever directory."""
    return load.program, load.requester, posixpath.basename(load.name)


def _check_load(observer: Observer, load: Load) -> Iterator[Finding]:
    if not _concerns_pack(observer, load):
        return
    name = posixpath.basename(load.name)
    provided = _list_providers(observer, name)
    evidence = _collect_evidence(load)
    asked = f"{CALL_TEXTS[load.call]} {load.name}"
    if load.origin is LoadOrigin.MISSING:
        severity = Severity.ERROR if load.call is LoadCall.NEEDED else Severity.NOTE
        yield rules.NOT_FOUND.make_finding(
            load.requester, f"{asked}, which was not found", severity=severity,
            root=Root(RootKind.LIBRARY, load.name), **evidence,
        )  # fmt: skip
    elif load.origin in (LoadOrigin.DECOY, LoadOrigin.HOST) and provided:
        yield rules.HOST_COPY.make_finding(
            load.requester, f"{asked}; the pack has {provided[0]}, but {load.path} was loaded",
            severity=_rate_load(observer, load), root=Root(RootKind.HOST_COPY, load.name),
            provided=provided, **evidence,
        )  # fmt: skip
    elif load.origin is LoadOrigin.DECOY or _is_undeclared(observer, load):
        yield rules.UNDECLARED.make_finding(
            load.requester, f"{asked}, which is not in the pack; {load.path} was loaded",
            severity=Severity.ERROR if load.origin is LoadOrigin.DECOY else Severity.NOTE,
            root=Root(RootKind.HOST_LIBRARY, load.name),
            **evidence,
        )  # fmt: skip
    elif load.prediction is Prediction.DIFFERENT:
        yield rules.NOT_PREDICTED.make_finding(
            load.requester,
            f"{asked} when it starts; {load.path} was loaded, but not predicted",
            severity=Severity.WARNING,
            hint="The loader model is wrong here; please report it.",
            **evidence,
        )
    elif load.origin is LoadOrigin.PACK and _is_opened_at_run_time(load):
        yield rules.NOT_PREDICTED.make_finding(
            load.requester, f"opens {load.path} at run time",
            hint=BY_PATH if "/" in load.name else None, **evidence,
        )  # fmt: skip


def _concerns_pack(observer: Observer, load: Load) -> bool:
    """Return whether an object of the pack asked, and not a program of the host for its own.

    A program of the pack that was started with another name than its own is known by its decoys.
    """
    images = observer.deployment.bundle.images
    is_renamed = "/" not in load.program and load.origin is LoadOrigin.DECOY
    return load.program in images or load.requester in images or is_renamed


def _rate_load(observer: Observer, load: Load) -> Severity:
    """Return the severity of a host's copy.

    A library that --open-all opens by itself may find the pack's copy in the programs of the pack.
    """
    is_alone = load.program not in observer.deployment.bundle.images
    if is_alone and observer.resolves_in_program(load.requester, load.name):
        return Severity.NOTE
    return Severity.ERROR


def _is_undeclared(observer: Observer, load: Load) -> bool:
    is_declared = matches_any(posixpath.basename(load.name), observer.provides)
    return load.origin is LoadOrigin.HOST and not is_declared


def _is_opened_at_run_time(load: Load) -> bool:
    return load.prediction is Prediction.RUN_TIME and load.call is LoadCall.DLOPEN


def _list_providers(observer: Observer, name: str) -> list[str]:
    return list(observer.deployment.bundle.paths_by_name.get(name, ()))


def _collect_evidence(load: Load) -> dict[str, Any]:
    return {
        "needed": load.name, "loaded": load.path, "call": load.call.value,
        "program": load.program, "at_start": load.at_start, "tried": list(load.tried),
    }  # fmt: skip


def check_end(program: str, end: ProgramEnd, seconds: float, *, is_stop: bool) -> list[Finding]:
    """Return a finding if the program failed.

    Args:
        program: its path.
        end: how it ended.
        seconds: the time that it had.
        is_stop: whether it was meant to run until that time.
    """
    message = "" if end.stopped and is_stop else describe_end(end, seconds)
    if not message:
        return []
    return [rules.PROGRAM_FAILED.make_finding(program, message, status=end.status)]


def describe_end(end: ProgramEnd, seconds: float) -> str:
    """Return how a program failed that had ``seconds``; empty if it succeeded."""
    if end.stopped:
        return f"did not end within {seconds:g} seconds"
    if end.status < 0:
        return f"died by signal {-end.status} ({get_signal_name(-end.status)})"
    return f"exited with {end.status}" if end.status else ""
