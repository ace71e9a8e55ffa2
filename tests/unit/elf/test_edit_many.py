"""Edits shared out among processes are the edits that one process makes, in the same order."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit import pool as edit_many
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.edit.pool import EditJob, edit_all, edit_pool
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.model.content import BytesContent, FileSlice
from elf.support import content_of


@pytest.fixture
def jobs(tmp_path: Path) -> list[EditJob]:
    """Files that each editor has to do with, one that needs no edit and one that is refused."""
    paths = [
        build_elf(tmp_path / f"lib{n}.so", soname=f"lib{n}.so", runpath="/opt/a") for n in range(5)
    ]
    changes = [Changes(runpath=text) for text in ("/o", "$ORIGIN/../" + "x" * 40, "/opt/a")]
    made = [EditJob(content_of(path), changes[n % 3]) for n, path in enumerate(paths)]
    static = build_elf(tmp_path / "static", program=True, flags=["-static"])
    return [*made, EditJob(content_of(static), changes[0])]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_many, "count_cores", lambda: 2)


def forbidden(*_: object) -> EditResult:
    raise AssertionError("it was edited in this process")


def told(outcome: EditResult | EditRefusedError) -> object:
    return outcome if isinstance(outcome, EditResult) else outcome.message


def one_by_one(jobs: list[EditJob], scratch: Path) -> list[object]:
    found: list[object] = []
    for job in jobs:
        try:
            found.append(edit_file(job.content, job.changes, scratch))
        except EditRefusedError as error:
            found.append(error.message)
    return found


@pytest.mark.usefixtures("two_cores")
def test_other_processes_make_the_same_edits(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = one_by_one(jobs, tmp_path)
    monkeypatch.setattr(edit_many, "_edit_here", forbidden)
    assert [told(outcome) for outcome in edit_all(jobs, tmp_path)] == alone
    assert {o.editor for o in alone if isinstance(o, EditResult)} == {"slot", "table", ""}
    assert isinstance(alone[-1], str)


@pytest.mark.usefixtures("two_cores")
def test_files_that_are_written_anew_are_found(jobs: list[EditJob], tmp_path: Path) -> None:
    for outcome in edit_all(jobs[1:2], tmp_path / "scratch", "patchelf"):
        assert isinstance(outcome, EditResult)
        assert outcome.image.runpath == jobs[1].changes.runpath
        with outcome.content.open() as reader:
            assert reader.pread(0, 4) == b"\x7fELF"


@pytest.mark.usefixtures("two_cores")
def test_a_process_that_dies_costs_no_edit(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = one_by_one(jobs, tmp_path)

    def die(content: BytesContent, image: Image) -> None:
        if image.soname == "lib3.so":
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(edit_many, "crosscheck_here", die)
    assert [told(outcome) for outcome in edit_all(jobs, tmp_path)] == alone


@pytest.mark.usefixtures("two_cores")
def test_where_pipes_may_not_be_larger_the_edits_are_the_same(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user has 64 MB of them: little, where there are many processors or many packs."""
    alone = one_by_one(jobs, tmp_path)

    def too_much(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(edit_many.fcntl, "fcntl", too_much)
    monkeypatch.setattr(edit_many, "_edit_here", forbidden)
    assert [told(outcome) for outcome in edit_all(jobs, tmp_path)] == alone
    with edit_pool() as edit_ready:
        assert [told(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")] == alone


def test_where_no_process_may_be_started_it_is_done_here(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = one_by_one(jobs, tmp_path)

    def no_more(_work: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(edit_many, "start_fork", no_more)
    assert [told(outcome) for outcome in edit_all(jobs, tmp_path)] == alone


@pytest.mark.usefixtures("two_cores")
def test_processes_that_are_ready_make_the_same_edits(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of what has no path, if it was known before."""
    held = os.open(jobs[0].content.path, os.O_RDONLY)  # type: ignore[attr-defined]
    jobs.append(EditJob(FileSlice(held, 0, jobs[0].content.size), jobs[1].changes))
    alone = one_by_one(jobs, tmp_path)
    with edit_pool([jobs[-1].content]) as edit_ready:
        # What was opened before they were is there as well; what is done here would be seen.
        monkeypatch.setattr(edit_many, "_edit_here", forbidden)
        assert [told(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")] == alone
    os.close(held)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.usefixtures("two_cores")
def test_what_was_opened_later_is_not_asked_of_processes_that_were_ready_before(
    jobs: list[EditJob], tmp_path: Path
) -> None:
    """Over there its descriptor is that of nothing, or of another file."""
    with edit_pool() as edit_ready:
        held = os.open(jobs[0].content.path, os.O_RDONLY)  # type: ignore[attr-defined]
        jobs.append(EditJob(FileSlice(held, 0, jobs[0].content.size), jobs[1].changes))
        alone = one_by_one(jobs, tmp_path)
        assert [told(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")] == alone
        os.close(held)


@pytest.mark.usefixtures("two_cores")
def test_a_leader_that_dies_costs_no_edit(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = one_by_one(jobs, tmp_path)
    monkeypatch.setattr(edit_many, "_run_coordinator", lambda *_: os._exit(1))
    with edit_pool() as edit_ready:
        assert [told(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")] == alone


@pytest.mark.usefixtures("two_cores")
def test_processes_that_are_not_needed_end_with_the_context() -> None:
    with edit_pool():
        pass
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_damaged_file_is_an_error_and_leaves_no_process(
    jobs: list[EditJob], tmp_path: Path
) -> None:
    jobs.insert(1, EditJob(BytesContent(b"\x7fELF"), Changes(runpath="/o")))
    with pytest.raises(DamagedElfError):
        list(edit_all(jobs, tmp_path))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
