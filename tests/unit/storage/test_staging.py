"""Scratch directories are removed when they are abandoned, and not while they are in use."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from bundle_fix.storage import staging
from bundle_fix.storage.staging import SCRATCH_NAME, create_scratch_directory, remove_unlocked
from bundle_fix.subprocesses import forks
from bundle_fix.subprocesses.locks import locks


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_directory_in_use_is_not_removed(temporary_directory: Path) -> None:
    with create_scratch_directory() as directory:
        remove_unlocked(temporary_directory, SCRATCH_NAME)
        assert directory.is_dir()
    assert not list(temporary_directory.iterdir())


def test_the_next_run_removes_what_a_killed_one_left(temporary_directory: Path) -> None:
    left = temporary_directory / ".bundle-fix-0123456789ab"
    (left / "lief").mkdir(parents=True)
    (left / "lief/before").write_bytes(b"x")
    other = temporary_directory / ".bundle-fix-of-mine"
    other.mkdir()
    with create_scratch_directory():
        assert not left.exists()
    assert list(temporary_directory.iterdir()) == [other]


def test_a_directory_that_is_removed_before_it_is_locked_is_created_again(
    temporary_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[Path] = []

    def create_and_remove_first(directory: Path, names: re.Pattern[str] = SCRATCH_NAME) -> None:
        directory.mkdir()
        created.append(directory)
        if len(created) == 1:
            remove_unlocked(temporary_directory, names)

    monkeypatch.setattr(staging, "_create_directory", create_and_remove_first)
    with create_scratch_directory() as directory:
        assert [directory.is_dir(), created[0].is_dir()] == [True, False]
    assert len(created) == 2
    assert not list(temporary_directory.iterdir())


def test_an_interrupt_before_the_directory_is_locked_leaves_none(
    temporary_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_directory: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "_open_locked_directory", interrupt)
    with pytest.raises(KeyboardInterrupt), create_scratch_directory():
        pass
    assert not list(temporary_directory.iterdir())


def test_a_forked_process_does_not_inherit_locks(temporary_directory: Path) -> None:
    def write_open_paths(pipe: IO[bytes]) -> None:
        for descriptor in list(Path("/proc/self/fd").iterdir()):
            with suppress(OSError):
                pipe.write(bytes(descriptor.readlink()) + b"\n")

    with create_scratch_directory() as directory:
        process = forks.start_fork(write_open_paths)
        open_paths = process.pipe.read().decode().splitlines()
        assert forks.wait_for_exit(process) == 0
        assert open_paths
        assert str(directory) not in open_paths
    assert not locks
