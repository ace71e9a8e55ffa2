"""Edits of many files, shared out among processes: most of an edit is the proof that it harms none.

Each process asks LIEF, the second reader, without a further process around it: should LIEF end it,
what it has not told is edited here, where LIEF is asked in a process of its own.
"""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from bundle_fix.content import Content, Patch, PatchedContent, PathContent
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit import Edited, EditRefusedError, edit
from bundle_fix.elf.image import read_image
from bundle_fix.elf.second_reader import disagreement_here
from bundle_fix.forks import Fork, fork, kill
from bundle_fix.processors import cores

PIPE = 1 << 20
"""Bytes of outcomes that may wait for the one before them, as much as the kernel grants anybody."""
OVERHEAD = 1 << 20
"""What an edit costs besides going through the file, in bytes that are gone through meanwhile."""


class Job(NamedTuple):
    """A file and what to change in it."""

    content: Content
    changes: Changes


class _Outcome(NamedTuple):
    """What became of a job: why it was refused, or what `Edited` has that the other side lacks.

    ``patches`` lie over the file; where it was written anew, it is at ``rewritten``.
    """

    refused: str = ""
    editor: str = ""
    patches: tuple[Patch, ...] = ()
    rewritten: PathContent | None = None
    refusals: tuple[str, ...] = ()


def edit_all(
    jobs: Sequence[Job], scratch: Path, editor: str = "auto"
) -> Iterator[Edited | EditRefusedError]:
    """What `edit` makes of each job, in their order.

    Args:
        jobs: the files; each is edited once.
        scratch: a folder for rewritten files; see `edit`.
        editor: see `edit`.

    Raises:
        DamagedElfError: a file cannot be read.
        BundleFixError: the same.
    """
    shares = _shares(jobs)
    owners = {number: share for share, numbers in enumerate(shares) for number in numbers}
    running: dict[int, Fork] = {}
    try:
        for share, numbers in enumerate(shares):
            work = partial(_work, [jobs[number] for number in numbers], scratch, editor)
            try:
                running[share] = fork(work)
            except OSError:
                # At the limit of processes: fewer do as well, even none.
                break
            fcntl.fcntl(running[share].pipe, fcntl.F_SETPIPE_SZ, PIPE)
        for number, job in enumerate(jobs):
            told = _told(running, owners[number])
            yield _heard(job, told) if told else _edited_here(job, scratch, editor)
    finally:
        for process in running.values():
            kill(process)


def _shares(jobs: Sequence[Job]) -> list[list[int]]:
    """The numbers of the jobs of each process, as even as may be, each in their order."""
    shares: list[list[int]] = [[] for _ in range(min(cores(), len(jobs)))]
    loads = [0] * len(shares)
    for number in sorted(range(len(jobs)), key=lambda n: -jobs[n].content.size):
        lightest = loads.index(min(loads))
        shares[lightest].append(number)
        loads[lightest] += jobs[number].content.size + OVERHEAD
    return [sorted(share) for share in shares]


def _work(jobs: Sequence[Job], scratch: Path, editor: str, pipe: IO[bytes]) -> None:
    """Tell the outcome of each job; one that raises ends the work, and is raised again here."""
    for job in jobs:
        try:
            edited = edit(job.content, job.changes, scratch, editor, disagreement_here)
        except EditRefusedError as error:
            outcome = _Outcome(refused=error.message)
        else:
            outcome = _outcome(edited)
        pickle.dump(outcome, pipe)
        pipe.flush()


def _told(running: dict[int, Fork], share: int) -> _Outcome | None:
    """The next outcome of a process; None where it has ended before."""
    if share not in running:
        return None
    try:
        outcome: _Outcome = pickle.load(running[share].pipe)  # noqa: S301 (a fork of this process)
    except (EOFError, pickle.UnpicklingError):
        kill(running.pop(share))
        return None
    return outcome


def _outcome(edited: Edited) -> _Outcome:
    content = edited.content
    if not edited.editor:
        return _Outcome()
    patches = content.patches if isinstance(content, PatchedContent) else ()
    rewritten = content if isinstance(content, PathContent) else None
    return _Outcome("", edited.editor, patches, rewritten, edited.refusals)


def _heard(job: Job, told: _Outcome) -> Edited | EditRefusedError:
    """What was told, with the content that was edited."""
    if told.refused:
        return EditRefusedError(told.refused)
    content = job.content
    if told.editor:
        content = told.rewritten or PatchedContent(content, told.patches)
    with content.open() as reader:
        return Edited(content, read_image(reader), told.editor, told.refusals)


def _edited_here(job: Job, scratch: Path, editor: str) -> Edited | EditRefusedError:
    try:
        return edit(job.content, job.changes, scratch, editor)
    except EditRefusedError as error:
        return error
