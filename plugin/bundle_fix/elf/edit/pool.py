"""Edits of many files, shared out among processes: most of an edit is the proof that it harms none.

Each process asks LIEF, the second reader, without a further process around it: should LIEF end it,
what it has not told is edited here, where LIEF is asked in a process of its own. LIEF takes longer
to load than most packs to edit; where it is worth it, a leading process loads it for all, ahead.
"""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.verify.lief_crosscheck import crosscheck_here
from bundle_fix.model.content import Content, Patch, PatchedContent, PathContent
from bundle_fix.subprocesses.forks import ForkedProcess, kill_fork, start_fork
from bundle_fix.subprocesses.processors import count_cores

if TYPE_CHECKING:
    from socket import socket

PIPE = 1 << 20
"""Bytes of outcomes that may wait for the one before them, as much as the kernel grants anybody."""
OVERHEAD = 1 << 20
"""What an edit costs besides going through the file, in bytes that are gone through meanwhile."""


class EditJob(NamedTuple):
    """A file and what to change in it."""

    content: Content
    changes: Changes


EditAll = Callable[[Sequence[EditJob], Path, str], Iterator[EditResult | EditRefusedError]]
"""`edit_all`, or what `edit_pool` gives to be called in its place."""


class _Outcome(NamedTuple):
    """What became of a job: why it was refused, or what `EditResult` has that the other side lacks.

    ``patches`` lie over the file; where it was written anew, it is at ``rewritten``.
    """

    refused: str = ""
    editor: str = ""
    patches: tuple[Patch, ...] = ()
    rewritten: PathContent | None = None
    refusals: tuple[str, ...] = ()


class _Request(NamedTuple):
    """The jobs for a leading process, each content by its number or path; see `edit_all`."""

    jobs: tuple[tuple[int | PathContent, Changes], ...]
    scratch: Path
    editor: str


def edit_all(
    jobs: Sequence[EditJob], scratch: Path, editor: str = "auto"
) -> Iterator[EditResult | EditRefusedError]:
    """What `edit_file` makes of each job, in their order.

    Args:
        jobs: the files; each is edited once.
        scratch: a folder for rewritten files; see `edit_file`.
        editor: see `edit_file`.

    Raises:
        DamagedElfError: a file cannot be read.
        BundleFixError: the same.
    """
    return _collect_results(jobs, _run_workers(jobs, scratch, editor), scratch, editor)


@contextmanager
def edit_pool(contents: Iterable[Content] = ()) -> Iterator[EditAll]:
    """`edit_all` by processes that get ready from now on, as long as the context lasts.

    Args:
        contents: what may come to be edited, besides files that have a path.
    """
    known = list(contents)
    if count_cores() < 2:
        yield edit_all
        return
    import socket

    ours, theirs = socket.socketpair()
    with ours:
        try:
            with theirs:
                leader = start_fork(partial(_run_coordinator, known, ours, theirs))
        except OSError:
            yield edit_all
            return
        try:
            _enlarge_pipe(leader)
            numbers = {id(content): number for number, content in enumerate(known)}
            yield partial(_edit_by_coordinator, leader, ours, numbers)
        finally:
            kill_fork(leader)


def _run_coordinator(
    known: Sequence[Content], other: socket, orders: socket, pipe: IO[bytes]
) -> None:
    """Load LIEF, take orders, and tell the outcome of each job."""
    import lief  # noqa: F401

    # Or else the other side's end would not be the end.
    other.close()
    told: _Request = pickle.load(orders.makefile("rb"))  # noqa: S301 (from what this is a fork of)
    jobs = [EditJob(known[c] if isinstance(c, int) else c, changes) for c, changes in told.jobs]
    for outcome in _run_workers(jobs, told.scratch, told.editor):
        pickle.dump(outcome, pipe)
        pipe.flush()


def _edit_by_coordinator(
    leader: ForkedProcess,
    orders: socket,
    numbers: Mapping[int, int],
    jobs: Sequence[EditJob],
    scratch: Path,
    editor: str,
) -> Iterator[EditResult | EditRefusedError]:
    """`edit_all` by a leading process, which knows the contents that have ``numbers``."""
    sent = []
    for job in jobs:
        content = numbers.get(id(job.content), job.content)
        # Only what has a path is the same file over there, if it came to be after the fork.
        if not isinstance(content, int | PathContent):
            return edit_all(jobs, scratch, editor)
        sent.append((content, job.changes))
    # Should it have died, its outcomes are missing, and that is seen to.
    with suppress(OSError):
        orders.sendall(pickle.dumps(_Request(tuple(sent), scratch, editor)))
    return _collect_results(jobs, (_receive_outcome(leader) for _ in jobs), scratch, editor)


def _run_workers(jobs: Sequence[EditJob], scratch: Path, editor: str) -> Iterator[_Outcome | None]:
    """The outcome of each job, told by a process per core; None where it was not told."""
    shares = _share_jobs(jobs)
    owners = {number: share for share, numbers in enumerate(shares) for number in numbers}
    running: dict[int, ForkedProcess] = {}
    try:
        for share, numbers in enumerate(shares):
            work = partial(_run_worker, [jobs[number] for number in numbers], scratch, editor)
            try:
                running[share] = start_fork(work)
            except OSError:
                # At the limit of processes: fewer do as well, even none.
                break
            _enlarge_pipe(running[share])
        for number in range(len(jobs)):
            process = running.get(owners[number])
            yield _receive_outcome(process) if process else None
    finally:
        for process in running.values():
            kill_fork(process)


def _enlarge_pipe(process: ForkedProcess) -> None:
    """Let outcomes wait in the pipe, unless the user has too much in pipes already."""
    with suppress(PermissionError):
        fcntl.fcntl(process.pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _share_jobs(jobs: Sequence[EditJob]) -> list[list[int]]:
    """The numbers of the jobs of each process, as even as may be, each in their order."""
    shares: list[list[int]] = [[] for _ in range(min(count_cores(), len(jobs)))]
    loads = [0] * len(shares)
    for number in sorted(range(len(jobs)), key=lambda n: -jobs[n].content.size):
        lightest = loads.index(min(loads))
        shares[lightest].append(number)
        loads[lightest] += jobs[number].content.size + OVERHEAD
    return [sorted(share) for share in shares]


def _run_worker(jobs: Sequence[EditJob], scratch: Path, editor: str, pipe: IO[bytes]) -> None:
    """Tell the outcome of each job; one that raises ends the work, and is raised again here."""
    for job in jobs:
        try:
            edited = edit_file(job.content, job.changes, scratch, editor, crosscheck_here)
        except EditRefusedError as error:
            outcome = _Outcome(refused=error.message)
        else:
            outcome = _make_outcome(edited)
        pickle.dump(outcome, pipe)
        pipe.flush()


def _receive_outcome(process: ForkedProcess) -> _Outcome | None:
    """The next outcome that a process tells; None where it has ended before."""
    try:
        outcome: _Outcome | None = pickle.load(process.pipe)  # noqa: S301 (our own fork)
    except (EOFError, pickle.UnpicklingError):
        return None
    return outcome


def _make_outcome(edited: EditResult) -> _Outcome:
    content = edited.content
    if not edited.editor:
        return _Outcome()
    patches = content.patches if isinstance(content, PatchedContent) else ()
    rewritten = content if isinstance(content, PathContent) else None
    return _Outcome("", edited.editor, patches, rewritten, edited.refusals)


def _collect_results(
    jobs: Sequence[EditJob], outcomes: Iterable[_Outcome | None], scratch: Path, editor: str
) -> Iterator[EditResult | EditRefusedError]:
    """What was told of each job; what was not is done here."""
    for job, told in zip(jobs, outcomes, strict=True):
        yield _restore_result(job, told) if told else _edit_here(job, scratch, editor)


def _restore_result(job: EditJob, told: _Outcome) -> EditResult | EditRefusedError:
    """What was told, with the content that was edited."""
    if told.refused:
        return EditRefusedError(told.refused)
    content = job.content
    if told.editor:
        content = told.rewritten or PatchedContent(content, told.patches)
    with content.open() as reader:
        return EditResult(content, read_image(reader), told.editor, told.refusals)


def _edit_here(job: EditJob, scratch: Path, editor: str) -> EditResult | EditRefusedError:
    try:
        return edit_file(job.content, job.changes, scratch, editor)
    except EditRefusedError as error:
        return error
