"""Temporary folders are removed by whoever finds them abandoned, and by nobody while in use."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from bundle_fix.storage import staging as holding
from bundle_fix.storage.staging import SCRATCH, remove_unlocked, scratch_directory
from bundle_fix.subprocesses import forks


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_in_use_is_not_abandoned(temporary: Path) -> None:
    with scratch_directory() as folder:
        remove_unlocked(temporary, SCRATCH)
        assert folder.is_dir()
    assert not list(temporary.iterdir())


def test_what_a_kill_left_is_removed_by_the_next(temporary: Path) -> None:
    left = temporary / ".bundle-fix-0123456789ab"
    (left / "lief").mkdir(parents=True)
    (left / "lief/before").write_bytes(b"x")
    other = temporary / ".bundle-fix-of-mine"
    other.mkdir()
    with scratch_directory():
        assert not left.exists()
    assert list(temporary.iterdir()) == [other]


def test_a_folder_that_another_process_takes_before_it_is_held_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(folder: Path, names: re.Pattern[str] = SCRATCH) -> None:
        folder.mkdir()
        made.append(folder)
        if len(made) == 1:
            remove_unlocked(temporary, names)

    monkeypatch.setattr(holding, "_make", make)
    with scratch_directory() as folder:
        assert [folder.is_dir(), made[0].is_dir()] == [True, False]
    assert len(made) == 2
    assert not list(temporary.iterdir())


def test_who_is_interrupted_before_the_folder_is_held_leaves_none(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_folder: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(holding, "_held_folder", interrupt)
    with pytest.raises(KeyboardInterrupt), scratch_directory():
        pass
    assert not list(temporary.iterdir())


def test_what_is_forked_has_no_lock_that_outlasts_this_process(temporary: Path) -> None:
    def tell(pipe: IO[bytes]) -> None:
        for place in list(Path("/proc/self/fd").iterdir()):
            with suppress(OSError):
                pipe.write(bytes(place.readlink()) + b"\n")

    with scratch_directory() as folder:
        process = forks.start_fork(tell)
        open_there = process.pipe.read().decode().splitlines()
        assert forks.wait_for_exit(process) == 0
        assert open_there
        assert str(folder) not in open_there
    assert not forks.locks
