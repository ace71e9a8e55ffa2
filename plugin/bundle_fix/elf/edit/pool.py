"""Edits of many files by several processes, as verification takes most of an edit's time.

If a worker ends before its jobs are done, the others are done in this process. LIEF re-reads every
edited file. Loading LIEF takes longer than editing most packs: `edit_pool` starts a coordinator
that loads it once for all workers, in advance.
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
from bundle_fix.elf.lief_library import load_lief
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.verify.lief_crosscheck import crosscheck
from bundle_fix.model.content import Content, PathContent
from bundle_fix.model.patches import InsertedContent, Insertion, Patch, PatchedContent
from bundle_fix.subprocesses.forks import ForkedProcess, kill_fork, start_fork
from bundle_fix.subprocesses.processors import count_cores

if TYPE_CHECKING:
    from socket import socket

PIPE_SIZE = 1 << 20
"""Bytes of outcomes that may wait in a pipe: the kernel's limit for ordinary users (pipe(7))."""
OVERHEAD = 1 << 20
"""The fixed cost of an edit, as the number of bytes that are verified in the same time."""


class EditJob(NamedTuple):
    """A file and the changes to it."""

    content: Content
    changes: Changes


EditAll = Callable[[Sequence[EditJob], Path, str], Iterator[EditResult | EditRefusedError]]
"""The type of `edit_all` and of the function that `edit_pool` yields."""


class _Outcome(NamedTuple):
    """The outcome of a job in another process, without the parts of `EditResult` known here.

    Attributes:
        refused: the message of an `EditRefusedError`, or empty.
        editor: the editor that made the changes; empty if there was nothing to change.
        patches: the patches of an edit in place.
        insertion: the bytes that an edit inserted after the patches.
        rewritten: the file that an editor wrote.
        refusals: the reason of each editor that was tried before and failed.
        no_opinion: why the second opinion is missing.
    """

    refused: str = ""
    editor: str = ""
    patches: tuple[Patch, ...] = ()
    insertion: Insertion | None = None
    rewritten: PathContent | None = None
    refusals: tuple[str, ...] = ()
    no_opinion: str = ""


class _Request(NamedTuple):
    """The jobs for the coordinator, with each content by its number or path; see `edit_all`."""

    jobs: tuple[tuple[int | PathContent, Changes], ...]
    scratch: Path
    editor: str


def edit_all(
    jobs: Sequence[EditJob], scratch: Path, editor: str = "auto"
) -> Iterator[EditResult | EditRefusedError]:
    """Yield the result of `edit_file` with a second opinion for each job, in their order.

    Args:
        jobs: the files; each is edited once.
        scratch: a directory for rewritten files; see `edit_file`.
        editor: see `edit_file`.

    Raises:
        DamagedElfError: a file is damaged.
        BundleFixError: a file cannot be read.
    """
    return _collect_results(jobs, _run_workers(jobs, scratch, editor), scratch, editor)


@contextmanager
def edit_pool(contents: Iterable[Content] = ()) -> Iterator[EditAll]:
    """Yield a function like `edit_all` that uses processes started in advance.

    The processes last as long as the context.

    Args:
        contents: the contents that may be edited; files with a path need not be among them.
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
                coordinator = start_fork(partial(_run_coordinator, known, ours, theirs))
        except OSError:
            yield edit_all
            return
        try:
            _enlarge_pipe(coordinator)
            numbers = {id(content): number for number, content in enumerate(known)}
            yield partial(_edit_by_coordinator, coordinator, ours, numbers)
        finally:
            kill_fork(coordinator)


def _run_coordinator(
    contents: Sequence[Content], other: socket, requests: socket, pipe: IO[bytes]
) -> None:
    """Load LIEF, read a request, and write the outcome of each job to ``pipe``."""
    load_lief()
    # A copy of the other end that stays open would hide that the parent closed its own.
    other.close()
    request: _Request = pickle.load(requests.makefile("rb"))  # noqa: S301 (from our parent)
    jobs = [
        EditJob(contents[content] if isinstance(content, int) else content, changes)
        for content, changes in request.jobs
    ]
    for outcome in _run_workers(jobs, request.scratch, request.editor):
        pickle.dump(outcome, pipe)
        pipe.flush()


def _edit_by_coordinator(
    coordinator: ForkedProcess,
    requests: socket,
    numbers: Mapping[int, int],
    jobs: Sequence[EditJob],
    scratch: Path,
    editor: str,
) -> Iterator[EditResult | EditRefusedError]:
    """Edit as `edit_all` does, in the coordinator; ``numbers`` has the contents that it knows."""
    sent = []
    for job in jobs:
        content = numbers.get(id(job.content), job.content)
        # Contents made after the fork mean the same in the coordinator only if they have a path.
        if not isinstance(content, int | PathContent):
            return edit_all(jobs, scratch, editor)
        sent.append((content, job.changes))
    # If the coordinator died, all outcomes are missing, and this process does the jobs.
    with suppress(OSError):
        requests.sendall(pickle.dumps(_Request(tuple(sent), scratch, editor)))
    return _collect_results(jobs, (_receive_outcome(coordinator) for _ in jobs), scratch, editor)


def _run_workers(jobs: Sequence[EditJob], scratch: Path, editor: str) -> Iterator[_Outcome | None]:
    """Yield the outcome of each job, from one process per core; None if its process died."""
    shares = _share_jobs(jobs)
    owners = {number: share for share, numbers in enumerate(shares) for number in numbers}
    running: dict[int, ForkedProcess] = {}
    try:
        for share, numbers in enumerate(shares):
            work = partial(_run_worker, [jobs[number] for number in numbers], scratch, editor)
            try:
                running[share] = start_fork(work)
            except OSError:
                # The limit of processes is reached: fewer workers, or none, do as well.
                break
            _enlarge_pipe(running[share])
        for number in range(len(jobs)):
            process = running.get(owners[number])
            yield _receive_outcome(process) if process else None
    finally:
        for process in running.values():
            kill_fork(process)


def _enlarge_pipe(process: ForkedProcess) -> None:
    """Let more outcomes wait in the pipe, unless the user's limit of pipe buffers is reached."""
    with suppress(PermissionError):
        fcntl.fcntl(process.pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


def _share_jobs(jobs: Sequence[EditJob]) -> list[list[int]]:
    """Divide the jobs evenly among processes; return the numbers of each one's jobs, in order."""
    shares: list[list[int]] = [[] for _ in range(min(count_cores(), len(jobs)))]
    loads = [0] * len(shares)
    for number in sorted(range(len(jobs)), key=lambda n: -jobs[n].content.size):
        lightest = loads.index(min(loads))
        shares[lightest].append(number)
        loads[lightest] += jobs[number].content.size + OVERHEAD
    return [sorted(share) for share in shares]


def _run_worker(jobs: Sequence[EditJob], scratch: Path, editor: str, pipe: IO[bytes]) -> None:
    """Write the outcome of each job; after another exception, the parent repeats the job."""
    for job in jobs:
        try:
            edited = edit_file(job.content, job.changes, scratch, editor, crosscheck)
        except EditRefusedError as error:
            outcome = _Outcome(refused=error.message)
        else:
            outcome = _build_outcome(edited)
        pickle.dump(outcome, pipe)
        pipe.flush()


def _receive_outcome(process: ForkedProcess) -> _Outcome | None:
    """Return the next outcome of a process, or None if it ended before."""
    try:
        outcome: _Outcome | None = pickle.load(process.pipe)  # noqa: S301 (our own fork)
    except (EOFError, pickle.UnpicklingError):
        return None
    return outcome


def _build_outcome(edited: EditResult) -> _Outcome:
    content = edited.content
    if not edited.editor:
        return _Outcome()
    insertion = content.insertion if isinstance(content, InsertedContent) else None
    patched = content.base if isinstance(content, InsertedContent) else content
    patches = patched.patches if isinstance(patched, PatchedContent) else ()
    rewritten = content if isinstance(content, PathContent) else None
    return _Outcome(
        "", edited.editor, patches, insertion, rewritten, edited.refusals, edited.no_opinion
    )


def _collect_results(
    jobs: Sequence[EditJob], outcomes: Iterable[_Outcome | None], scratch: Path, editor: str
) -> Iterator[EditResult | EditRefusedError]:
    """Yield the result of each job; jobs without an outcome are done in this process."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        yield _restore_result(job, outcome) if outcome else _edit_here(job, scratch, editor)


def _restore_result(job: EditJob, outcome: _Outcome) -> EditResult | EditRefusedError:
    """Return the result of a job from its outcome."""
    if outcome.refused:
        return EditRefusedError(outcome.refused)
    content = job.content
    if outcome.editor:
        content = outcome.rewritten or PatchedContent(content, outcome.patches)
        if outcome.insertion is not None:
            content = InsertedContent(content, outcome.insertion)
    with content.open() as reader:
        image = read_image(reader)
    return EditResult(content, image, outcome.editor, outcome.refusals, outcome.no_opinion)


def _edit_here(job: EditJob, scratch: Path, editor: str) -> EditResult | EditRefusedError:
    try:
        return edit_file(job.content, job.changes, scratch, editor, crosscheck)
    except EditRefusedError as error:
        return error
