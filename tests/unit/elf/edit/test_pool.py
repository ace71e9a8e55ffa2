"""The pool of processes: it makes the same edits as a single process, in the same order."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit import pool
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.edit.pool import EditJob, edit_all, edit_pool
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.verify.lief_crosscheck import SecondOpinion
from bundle_fix.model.content import BytesContent, FileSlice
from bundle_fix.model.errors import DamagedElfError
from elf.support import get_content


@pytest.fixture
def jobs(tmp_path: Path) -> list[EditJob]:
    """Return jobs for several editors, one that changes nothing and one that is refused."""
    paths = [
        build_elf(tmp_path / f"lib{n}.so", soname=f"lib{n}.so", runpath="/opt/a") for n in range(5)
    ]
    changes = [Changes(runpath=text) for text in ("/o", "$ORIGIN/../" + "x" * 40, "/opt/a")]
    result = [EditJob(get_content(path), changes[n % 3]) for n, path in enumerate(paths)]
    static = build_elf(tmp_path / "static", program=True, flags=["-static"])
    return [*result, EditJob(get_content(static), changes[0])]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "count_cores", lambda: 2)


def fail_to_edit(*_: object) -> EditResult:
    raise AssertionError("a file was edited in this process")


def unwrap_outcome(outcome: EditResult | EditRefusedError) -> object:
    return outcome if isinstance(outcome, EditResult) else outcome.message


def edit_one_by_one(jobs: list[EditJob], scratch: Path) -> list[object]:
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
    expected = edit_one_by_one(jobs, tmp_path)
    monkeypatch.setattr(pool, "_edit_here", fail_to_edit)
    assert [unwrap_outcome(outcome) for outcome in edit_all(jobs, tmp_path)] == expected
    assert {o.editor for o in expected if isinstance(o, EditResult)} == {"slot", "table", ""}
    assert isinstance(expected[-1], str)


@pytest.mark.usefixtures("two_cores")
def test_grown_files_are_found(jobs: list[EditJob], tmp_path: Path) -> None:
    for outcome in edit_all(jobs[1:2], tmp_path / "scratch", "segment"):
        assert isinstance(outcome, EditResult)
        assert outcome.image.runpath == jobs[1].changes.runpath
        with outcome.content.open() as reader:
            assert reader.pread(0, 4) == b"\x7fELF"


@pytest.mark.usefixtures("two_cores")
def test_the_edits_of_a_killed_process_are_repeated(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = edit_one_by_one(jobs, tmp_path)

    test = os.getpid()

    def die(_before: object, _after: object, image: Image) -> SecondOpinion:
        if image.soname == "lib3.so" and os.getpid() != test:
            os.kill(os.getpid(), signal.SIGKILL)
        return SecondOpinion()

    monkeypatch.setattr(pool, "crosscheck", die)
    assert [unwrap_outcome(outcome) for outcome in edit_all(jobs, tmp_path)] == expected


@pytest.mark.usefixtures("two_cores")
def test_edits_are_the_same_if_pipes_cannot_be_enlarged(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pipes of a user together are limited to 64 MB (pipe(7), pipe-user-pages-soft)."""
    expected = edit_one_by_one(jobs, tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(pool, "_edit_here", fail_to_edit)
    assert [unwrap_outcome(outcome) for outcome in edit_all(jobs, tmp_path)] == expected
    with edit_pool() as edit_ready:
        assert [
            unwrap_outcome(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")
        ] == expected


def test_edits_are_made_in_this_process_if_no_other_can_be_started(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = edit_one_by_one(jobs, tmp_path)

    def refuse(_work: object) -> None:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(pool, "start_fork", refuse)
    assert [unwrap_outcome(outcome) for outcome in edit_all(jobs, tmp_path)] == expected


@pytest.mark.usefixtures("two_cores")
def test_processes_started_in_advance_make_the_same_edits(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a path works as well, if its descriptor was open before the start."""
    descriptor = os.open(jobs[0].content.path, os.O_RDONLY)  # type: ignore[attr-defined]
    jobs.append(EditJob(FileSlice(descriptor, 0, jobs[0].content.size), jobs[1].changes))
    expected = edit_one_by_one(jobs, tmp_path)
    with edit_pool([jobs[-1].content]) as edit_ready:
        # An edit in this process would fail the test.
        monkeypatch.setattr(pool, "_edit_here", fail_to_edit)
        assert [
            unwrap_outcome(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")
        ] == expected
    os.close(descriptor)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.usefixtures("two_cores")
def test_files_opened_later_are_not_sent_to_processes_started_before(
    jobs: list[EditJob], tmp_path: Path
) -> None:
    """In these processes the descriptor is invalid, or belongs to another file."""
    with edit_pool() as edit_ready:
        descriptor = os.open(jobs[0].content.path, os.O_RDONLY)  # type: ignore[attr-defined]
        jobs.append(EditJob(FileSlice(descriptor, 0, jobs[0].content.size), jobs[1].changes))
        expected = edit_one_by_one(jobs, tmp_path)
        assert [
            unwrap_outcome(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")
        ] == expected
        os.close(descriptor)


@pytest.mark.usefixtures("two_cores")
def test_the_edits_of_a_killed_coordinator_are_repeated(
    jobs: list[EditJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = edit_one_by_one(jobs, tmp_path)
    monkeypatch.setattr(pool, "_run_coordinator", lambda *_: os._exit(1))
    with edit_pool() as edit_ready:
        assert [
            unwrap_outcome(outcome) for outcome in edit_ready(jobs, tmp_path, "auto")
        ] == expected


@pytest.mark.usefixtures("two_cores")
def test_unused_processes_end_with_the_context() -> None:
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
